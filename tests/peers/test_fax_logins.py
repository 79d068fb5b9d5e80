"""Whom a fax is sent and fetched by: Postfix with Dovecot's logins, Exim, and Dovecot's POP3 with STLS."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench.processes import free_port, stop
from tests.mail_servers import EXIM_DELIVERS, EximParts, EximServer, PostfixServer, wait_until

from lanpost.app.config import parse
from lanpost.app.fax_delivery import account_of
from lanpost.app.fax_trust import trust_of
from lanpost.app.settings import Settings
from lanpost.app.spooled_content import SpooledContent
from lanpost.errors import DeliveryError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.net.pop3_client import MailboxUnreachable, Pop3Mailbox
from lanpost.net.smtp_out import SmtpSender
from lanpost.store.authority import Authority

pytestmark = pytest.mark.peer

HOST = "127.0.0.1"
MAIL = b"Subject: a fax\r\n\r\nHello\r\n"
OWNER = "mail"
DOVECOT = """
protocols = pop3
listen = {host}
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.pem
disable_plaintext_auth = yes
auth_mechanisms = plain login
first_valid_uid = {uid}
first_valid_gid = {gid}
mail_location = maildir:{folder}/mailboxes/%u
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mailboxes/%u
}}
service auth {{
  inet_listener {{
    address = {host}
    port = {login_port}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""
EXIM_LOGINS = """begin authenticators
{name}:
  driver = plaintext
  public_name = {public_name}
  server_prompts = {prompts}
  server_condition = ${{if and{{{{eq{{{user}}}{{anna}}}}{{eq{{{password}}}{{secret}}}}}}}}
  server_set_id = {user}
"""


@dataclass(frozen=True)
class Dovecot:
    """It runs; Anna's password is "secret", and she has a mail."""

    settings: Settings  # whose fax.ca_file vouches for it
    certificate: Path
    port: int  # POP3
    login_port: int  # for Postfix's questions


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    program = shutil.which("dovecot", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or not Path("/usr/lib/dovecot/pop3").exists():
        pytest.skip("dovecot-pop3d is not installed: scripts/install-peers")
    if os.geteuid() != 0:
        pytest.skip("Dovecot is started as root")
    folder = Path(tempfile.mkdtemp(prefix="lanpost-dovecot-"))
    folder.chmod(0o755)
    authority = Authority.open(folder / "ca", datetime.now(UTC))
    certificate = folder / "server.pem"
    certificate.write_bytes(authority.issue_server([HOST], datetime.now(UTC)))
    owner = pwd.getpwnam(OWNER)
    mailbox = folder / "mailboxes" / "anna"
    for part in ("tmp", "new", "cur"):
        (mailbox / part).mkdir(parents=True)
    (mailbox / "new" / "1").write_bytes(MAIL)
    for path in (folder / "mailboxes", *(folder / "mailboxes").rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    port, login_port = free_port(), free_port()
    config = folder / "dovecot.conf"
    config.write_text(
        DOVECOT.format(
            folder=folder, host=HOST, uid=owner.pw_uid, gid=owner.pw_gid, port=port, login_port=login_port
        )
    )
    server = subprocess.Popen([program, "-F", "-c", str(config)])

    def log() -> str:
        file = folder / "log"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    try:
        wait_until(lambda: "starting up" in log() or server.poll() is not None, "Dovecot", log)
        assert server.poll() is None, log()
        settings = parse(f'data = "{folder}"\n[fax]\nca_file = "{authority.ca_file}"\n', folder / "lanpost.toml")
        yield Dovecot(settings, certificate, port, login_port)
    finally:
        stop(server)
        shutil.rmtree(folder, ignore_errors=True)


def sent(settings: Settings, server: Endpoint, user: str, password: str) -> str:
    """The server's answer."""
    return asyncio.run(_sent(settings, server, user, password))


async def _sent(settings: Settings, server: Endpoint, user: str, password: str) -> str:
    sender = SmtpSender("fax.office.lan", account=account_of(settings, server, user, password))
    recipients = (Recipient(MailAddress.parse("fax1@office.lan")),)
    envelope = Envelope(MailAddress.parse("anna@office.lan"), recipients)
    try:
        (outcome,) = await sender.send(server, envelope, SpooledContent(iter((MAIL,)), len(MAIL)))
    except DeliveryError as error:
        return str(error)
    finally:
        await sender.close()
    return str(outcome.reply)


def test_postfix_lets_in_who_logs_in_by_tls(dovecot: Dovecot, tmp_path: Path) -> None:
    rules = {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": f"inet:{HOST}:{dovecot.login_port}",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_auth_only": "yes",
        "smtpd_tls_cert_file": str(dovecot.certificate),
        "smtpd_tls_key_file": str(dovecot.certificate),
        "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        "smtpd_tls_loglevel": "1",
    }
    with PostfixServer(tmp_path / "postfix", HOST, free_port(), settings=rules) as postfix:
        server = Endpoint.of(HOST, postfix.port)
        assert sent(dovecot.settings, server, "anna", "secret").startswith("250 2.0.0")
        (mail,) = postfix.wait_for_mail(1)
        assert mail.get_payload() == "Hello\n"
        assert "sasl_method=PLAIN, sasl_username=anna" in postfix.log()
        assert f"{server} does not let anna log in: 535 5.7.8" in sent(dovecot.settings, server, "anna", "wrong")
        stranger = parse("[authentication]\nnetworks_without_tls = []\n", tmp_path / "lanpost.toml")
        assert "a certificate that nobody vouches for" in sent(stranger, server, "anna", "secret")


@pytest.mark.parametrize(
    "words",
    [
        ("plain", "PLAIN", ":", "$auth2", "$auth3"),
        ("login", "LOGIN", "<| Username: | Password:", "$auth1", "$auth2"),
    ],
    ids=["PLAIN", "LOGIN"],
)
def test_exim_lets_in_who_logs_in(tmp_path: Path, words: Sequence[str]) -> None:
    names = ("name", "public_name", "prompts", "user", "password")
    logins = EXIM_LOGINS.format(**dict(zip(names, words, strict=True)))
    parts = EximParts(
        main="auth_advertise_hosts = *",
        acl="  deny message = log in\n    !authenticated = *",
        routers=EXIM_DELIVERS + logins,
    )
    settings = parse("", tmp_path / "lanpost.toml")
    with EximServer(tmp_path / "exim", HOST, free_port(), parts=parts) as exim:
        server = Endpoint.of(HOST, exim.port)
        assert sent(settings, server, "anna", "secret").startswith("250 ")
        exim.wait_for_mail(1)
        assert f"{server} does not let anna log in: 535 " in sent(settings, server, "anna", "wrong")


def test_a_mailbox_of_dovecot_is_looked_into_by_tls(dovecot: Dovecot) -> None:
    endpoint = Endpoint.of(HOST, dovecot.port)
    mailbox = Pop3Mailbox(endpoint, "anna", "secret", trust_of(dovecot.settings))
    assert mailbox.new_mails() == [MAIL.rstrip(b"\r\n")]
    assert mailbox.new_mails() == []
    with pytest.raises(MailboxUnreachable, match="may not log in") as refused:
        Pop3Mailbox(endpoint, "anna", "wrong", trust_of(dovecot.settings)).new_mails()
    assert refused.value.for_good


def test_a_mailbox_with_a_strangers_certificate_is_not_given_the_password(dovecot: Dovecot, tmp_path: Path) -> None:
    other = Authority.open(tmp_path / "ca", datetime.now(UTC))
    settings = parse(f'[fax]\nca_file = "{other.ca_file}"\n', tmp_path / "lanpost.toml")
    mailbox = Pop3Mailbox(Endpoint.of(HOST, dovecot.port), "anna", "secret", trust_of(settings))
    with pytest.raises(MailboxUnreachable, match="certificate is not vouched for") as refused:
        mailbox.new_mails()
    assert refused.value.for_good
