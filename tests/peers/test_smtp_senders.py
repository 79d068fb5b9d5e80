"""Foreign software that sends mail to our server: swaks, curl, msmtp, smtp-source, Postfix, Exim."""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from bench.processes import free_port
from tests.mail_servers import EximServer, MailServer, PostfixServer, wait_until
from tests.sessions.memory_intake import PASSWORD, MemoryIntake, Serving, serving, throwaway_tls

from lanpost.net.smtp_in import SmtpService
from lanpost.wire.smtp_events import SmtpLimits, SmtpTerms

pytestmark = pytest.mark.peer
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
TERMS = SmtpTerms("mail.office.lan", "office.lan", SmtpLimits(mail_size=5_000_000), authentication=True)
SUBMISSION = SmtpTerms("mail.office.lan", "office.lan", authentication=True, submission=True)
BODY = "Subject: for the terminal\n\n.a dot first\n..two\nÜmlaut\n"
WIRE = "Subject: for the terminal\r\n\r\n..a dot first\r\n...two\r\nÜmlaut\r\n".encode()


def run(*command: str, text: str = "", success: bool = True) -> str:
    """What the program printed. Skips where it is not installed."""
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=60, check=False)
    printed = (done.stdout + done.stderr).decode(errors="replace")
    assert (done.returncode == 0) == success, printed
    return printed


@pytest.fixture
def server() -> Iterator[Serving]:
    service = SmtpService(MemoryIntake(), TERMS, networks_without_tls=LOOPBACK)
    with serving(service, new_loop=uvloop.new_event_loop) as server:
        yield server


@pytest.fixture
def submission(tmp_path: Path) -> Iterator[Serving]:
    """With STARTTLS, whose certificate is in tmp_path / "server.pem"."""
    tls, _ = throwaway_tls(tmp_path)
    service = SmtpService(MemoryIntake(), SUBMISSION)
    with serving(service, tls=tls, new_loop=uvloop.new_event_loop) as server:
        yield server


def swaks(server: Serving, *options: str, success: bool = True) -> str:
    where = ["--server", "127.0.0.1", "--port", str(server.port), "--helo", "swaks.office.lan"]
    return run("swaks", *where, "--from", "a@office.lan", "--to", "fax1@office.lan", *options, success=success)


@pytest.mark.parametrize("options", [(), ("--pipeline",), ("--protocol", "SMTP")], ids=["step", "pipeline", "HELO"])
def test_swaks(server: Serving, options: tuple[str, ...]) -> None:
    swaks(server, *options, "--body", "from swaks\n.dot\n")
    (mail,) = server.intake.mails
    assert mail.content.endswith(b"from swaks\r\n..dot\r\n\r\n\r\n")
    assert mail.client.hello == "swaks.office.lan"
    assert mail.client.extended == ("SMTP" not in options)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_logs_in(server: Serving, mechanism: str) -> None:
    login = ["--auth", mechanism, "--auth-user", "anna@office.lan", "--auth-password"]
    swaks(server, *login, PASSWORD)
    assert server.intake.mails[0].client.login == "anna@office.lan"
    assert "535 5.7.8" in swaks(server, *login, "guessed", success=False)


def test_swaks_is_told_of_an_unknown_recipient(server: Serving) -> None:
    assert "550 5.1.1" in swaks(server, "--to", "unknown@office.lan", success=False)
    assert not server.intake.mails


def test_curl(server: Serving, tmp_path: Path) -> None:
    file = tmp_path / "mail"
    file.write_bytes(BODY.replace("\n", "\r\n").encode())
    url = f"smtp://127.0.0.1:{server.port}/curl.office.lan"
    run("curl", "-sS", url, "--mail-from", "a@office.lan", "--mail-rcpt", "fax1@office.lan", "-T", str(file))
    (mail,) = server.intake.mails
    assert mail.content == WIRE
    assert mail.client.hello == "curl.office.lan"
    assert mail.envelope.size == file.stat().st_size


def test_curl_with_tls_and_login(submission: Serving, tmp_path: Path) -> None:
    url = f"smtp://127.0.0.1:{submission.port}/curl.office.lan"
    tls = ["--ssl-reqd", "--cacert", str(tmp_path / "server.pem"), "--user", f"anna:{PASSWORD}"]
    sent = tmp_path / "mail"
    sent.write_bytes(b"Subject: x\r\n\r\n" + b"x" * 998 + b"\r\n" + b"y" * 200_000)
    run("curl", "-sS", url, "--mail-from", "a@office.lan", "--mail-rcpt", "fax1@office.lan", "-T", str(sent), *tls)
    (mail,) = submission.intake.mails
    assert mail.client.tls.startswith("TLSv1.3")
    assert mail.client.login == "anna"
    assert mail.content == sent.read_bytes() + b"\r\n"


def test_curl_hears_that_a_mail_is_too_big(server: Serving, tmp_path: Path) -> None:
    sent = tmp_path / "mail"
    sent.write_bytes((b"x" * 98 + b"\r\n") * 60_000)
    url = f"smtp://127.0.0.1:{server.port}/x"
    known = ["--mail-from", "a@office.lan", "--mail-rcpt", "fax1@office.lan"]
    assert "552" in run("curl", "-sS", url, *known, "-T", str(sent), success=False)
    unknown_size = run("sh", "-c", f"cat {sent} | curl -v {url} {' '.join(known)} -T -", success=False)
    assert "552" in unknown_size
    assert not server.intake.mails


def test_msmtp_with_tls_and_login(submission: Serving, tmp_path: Path) -> None:
    configuration = tmp_path / "msmtprc"
    configuration.write_text(
        f"account default\nhost 127.0.0.1\nport {submission.port}\nfrom anna@office.lan\ndomain msmtp.office.lan\n"
        f"tls on\ntls_starttls on\ntls_trust_file {tmp_path}/server.pem\nauth plain\nuser anna\n"
        f"passwordeval echo {PASSWORD}\ndsn_notify failure,delay\ndsn_return headers\n"
    )
    configuration.chmod(0o600)
    run("msmtp", "-C", str(configuration), "fax1@office.lan", "fax2@office.lan", text=BODY)
    (mail,) = submission.intake.mails
    assert mail.content.endswith(WIRE)
    assert mail.client.login == "anna"
    assert mail.envelope.ret == "HDRS"
    assert [recipient.notify for recipient in mail.recipients] == [{"FAILURE", "DELAY"}] * 2


@pytest.mark.parametrize("options", [(), ("-d",)], ids=["a connection each", "kept connections"])
def test_smtp_source_with_many_sessions(server: Serving, options: tuple[str, ...]) -> None:
    count = ["-s", "8", "-m", "200", "-l", "4096", *options]
    run("smtp-source", *count, "-f", "a@office.lan", "-t", "fax1@office.lan", f"inet:127.0.0.1:{server.port}")
    assert len(server.intake.mails) == 200
    assert all(len(mail.content) >= 4096 for mail in server.intake.mails)


@pytest.mark.parametrize("kind", [PostfixServer, EximServer])
def test_another_server_relays_to_us(kind: type[MailServer], server: Serving, tmp_path: Path) -> None:
    """Postfix pipelines, Exim sends its chunks by BDAT; both with 8-bit content."""
    with kind(tmp_path / "relay", "127.0.0.1", free_port(), relay=("127.0.0.1", server.port)) as relay:
        url = f"smtp://127.0.0.1:{relay.port}/x"
        file = tmp_path / "mail"
        file.write_bytes(BODY.replace("\n", "\r\n").encode())
        to = ["--mail-rcpt", "fax1@office.lan", "--mail-rcpt", "fax2@office.lan"]
        run("curl", "-sS", url, "--mail-from", "a@office.lan", *to, "-T", str(file))
        addressed = 0

        def all_there() -> bool:
            nonlocal addressed
            addressed = sum(len(mail.recipients) for mail in server.intake.mails)
            return addressed == 2

        wait_until(all_there, f"mail relayed by {kind.__name__}", relay.log)
        if kind is EximServer:
            wait_until(lambda: " K C=" in relay.log(), "Exim's note that it used CHUNKING", relay.log)
    for mail in server.intake.mails:
        body = mail.content.partition(b"\r\n\r\n")[2]
        assert body == WIRE.partition(b"\r\n\r\n")[2]
        assert re.search(rb"(?s)Received: .*office\.lan", mail.content)
