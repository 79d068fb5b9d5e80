"""Other people's POP3 clients, in the clear and over STLS, against our server."""

from __future__ import annotations

import mailbox
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pop3_running import PASSWORD, Running, running_pop3

from lanpost.model.token import REGISTRAR_NAME

pytestmark = pytest.mark.peer
SECONDS = 30
MAILS = [
    b"Subject: one\r\nFrom: otto@office.lan\r\nMessage-ID: <1@x>\r\n\r\nline\r\n.\r\n..dots\r\n",
    b"Subject: two\r\nFrom: otto@office.lan\r\nMessage-ID: <2@x>\r\n\r\n" + b"long " * 20 + b"\r\n" * 3,
    b"Subject: gr\xc3\xbc\xc3\x9fe\r\nFrom: otto@office.lan\r\nMessage-ID: <3@x>\r\n\r\n\xe2\x82\xac and \xff\r\n",
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running_pop3(tmp_path / "server") as running:
        running.put(*MAILS)
        yield running


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, **environment: str) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=environment or None, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "stls"])
def test_curl_lists_fetches_and_deletes(server: Running, tls: bool) -> None:
    url = f"pop3://127.0.0.1:{server.port}"
    curl = [program("curl"), "--silent", "--show-error", "--user", f"anna:{PASSWORD}"]
    if tls:
        curl += ["--ssl-reqd", "--cacert", str(server.ca_file)]
    listed = run(*curl, url + "/").splitlines()
    assert listed == [b"%d %d" % (number, len(mail)) for number, mail in enumerate(MAILS, 1)]
    for number, mail in enumerate(MAILS, 1):
        assert run(*curl, f"{url}/{number}") == mail
    assert run(*curl, "--request", "TOP 1 1", f"{url}/") == MAILS[0].partition(b"\r\n.\r\n")[0] + b"\r\n"
    assert len(run(*curl, "--request", "UIDL", f"{url}/").splitlines()) == 3
    run(*curl, "--request", "DELE", "--list-only", f"{url}/2")
    assert server.kept() == [MAILS[0], MAILS[2]]


def test_curl_is_told_of_a_wrong_password(server: Running) -> None:
    done = subprocess.run(
        [program("curl"), "--silent", "--user", "anna:wrong horse", f"pop3://127.0.0.1:{server.port}/"],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 67  # login denied


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "stls"])
def test_fetchmail_takes_all_and_empties_the_mailbox(server: Running, tmp_path: Path, tls: bool) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    safety = (
        f'sslproto "TLS1.2+" sslcertck sslcertfile "{server.ca_file}" sslcommonname "{REGISTRAR_NAME}"'
        if tls
        else 'sslproto ""'
    )
    rules = folder / "fetchmailrc"
    rules.write_text(
        f'poll 127.0.0.1 protocol pop3 service {server.port} username "anna" password "{PASSWORD}"\n'
        f'  {safety} fetchall no rewrite mda "cat >> {shlex.quote(str(folder / "taken"))}"\n'
    )
    rules.chmod(0o600)
    run(
        program("fetchmail"),
        *("--fetchmailrc", str(rules), "--idfile", str(folder / "ids"), "--nosyslog", "--invisible"),
        *("--pidfile", str(folder / "pid")),
        HOME=str(folder),
        PATH="/usr/bin:/bin",
    )
    taken = (folder / "taken").read_bytes()
    for mail in MAILS:
        assert mail.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n") in taken
    assert server.kept() == []


def test_mpop_leaves_mail_and_takes_only_what_is_new(server: Running, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    mailbox.Maildir(inbox, create=True).close()
    rules = tmp_path / "mpoprc"
    rules.write_text(
        f"account default\nhost 127.0.0.1\nport {server.port}\nuser anna\npassword {PASSWORD}\n"
        f"auth plain\ntls on\ntls_starttls on\ntls_trust_file {server.ca_file}\nkeep on\npipelining on\n"
        f"uidls_file {tmp_path / 'uidls'}\ndelivery maildir {inbox}\nreceived_header off\n"
    )
    rules.chmod(0o600)
    mpop = [program("mpop"), "--file", str(rules)]
    run(*mpop)
    assert sorted(path.read_bytes() for path in (inbox / "new").iterdir()) == sorted(
        mail.replace(b"\r\n", b"\n") for mail in MAILS
    )
    server.put(b"Subject: four\r\n\r\nlater\r\n")
    run(*mpop)
    run(*mpop)
    assert len(list((inbox / "new").iterdir())) == 4
    assert len(server.kept()) == 4
    run(*mpop, "--keep=off")
    assert server.kept() == []
