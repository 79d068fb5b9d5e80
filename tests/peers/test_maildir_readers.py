"""Other people's programs on our Maildirs: Python's mailbox module, and Dovecot serving them by POP3."""

from __future__ import annotations

import mailbox
import os
import poplib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lanpost.model.address import MailAddress
from lanpost.store.maildir import MaildirMailboxes

pytestmark = pytest.mark.peer
ANNA = MailAddress.parse("anna@office.lan")
MAILS = [
    b"Subject: one\r\n\r\nline\r\n.\r\n..dots\r\n",
    b"Subject: two\r\n\r\n" + b"\r\n" * 100,
    b"Subject: three\r\n\r\n" + b"line\r\n" * 20_000,
]
USER = "nobody"  # Dovecot serves no mail of root's


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where another user may go, with a short path: a socket's name has 108 octets at most."""
    path = Path(tempfile.mkdtemp(prefix="lanpost-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def mailboxes(folder: Path) -> Iterator[MaildirMailboxes]:
    mailboxes = MaildirMailboxes(folder / "mailboxes", domain="office.lan", quota=10**9, warning=90)
    mailboxes.create(ANNA)
    for mail in MAILS:
        mailboxes.deliver(ANNA, [mail]).result(30)
    yield mailboxes
    mailboxes.close()


def kept(mailboxes: MaildirMailboxes) -> list[tuple[str, bytes]]:
    session = mailboxes.open_session(ANNA)
    try:
        ids = session.unique_ids()
        mails = [(ids[index], b"".join(session.chunks(index))) for index in range(len(ids))]
        assert list(session.sizes()) == [len(mail) for _, mail in mails]
        return mails
    finally:
        session.close()


def test_python_reads_flags_and_adds(folder: Path, mailboxes: MaildirMailboxes) -> None:
    before = kept(mailboxes)
    box = mailbox.Maildir(folder / "mailboxes" / "anna@office.lan", create=False)
    assert sorted(box.get_bytes(key) for key in list(box.iterkeys())) == sorted(
        mail.replace(b"\r\n", b"\n") for mail in MAILS
    )
    for key in list(box.iterkeys()):
        message = box[key]
        message.set_subdir("cur")
        message.add_flag("S")
        box[key] = message
    box.add(b"Subject: four\n\nadded by Python\n")
    box.close()
    after = kept(mailboxes)
    assert sorted(mail for _, mail in after) == sorted([*MAILS, b"Subject: four\r\n\r\nadded by Python\r\n"])
    assert {name for name, _ in before} < {name for name, _ in after}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def give_away(folder: Path) -> None:
    """The mailboxes to the user that Dovecot reads them as."""
    owner = pwd.getpwnam(USER)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner.pw_uid, owner.pw_gid)


@contextmanager
def dovecot(folder: Path) -> Iterator[int]:
    """Dovecot's POP3 server on a port of its own, with a configuration of its own."""
    program = shutil.which("dovecot")
    if program is None or not Path("/usr/lib/dovecot/pop3").exists():
        pytest.skip("dovecot-pop3d is not installed")
    if os.geteuid() != 0:
        pytest.skip("Dovecot is started as root")
    owner = pwd.getpwnam(USER)
    port = free_port()
    config = folder / "dovecot.conf"
    config.write_text(f"""
protocols = pop3
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
first_valid_uid = {owner.pw_uid}
first_valid_gid = {owner.pw_gid}
mail_location = maildir:{folder}/mailboxes/%u
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home={folder}/mailboxes/%u
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
""")
    with subprocess.Popen([program, "-F", "-c", str(config)], start_new_session=True) as server:
        try:
            wait_for(port, server, folder / "log")
            yield port
        finally:
            server.terminate()
            server.wait(20)


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            said = log.read_text() if log.exists() else "nothing"
            assert server.poll() is None, f"Dovecot ended; its log: {said}"
            assert time.monotonic() < deadline, f"Dovecot does not listen; its log: {said}"
            time.sleep(0.01)  # it gives no sign but its port
        else:
            return


def log_in(port: int) -> poplib.POP3:
    client = poplib.POP3("127.0.0.1", port, timeout=20)
    client.user("anna@office.lan")
    client.pass_("secret")
    return client


def test_dovecot_serves_the_same_mails_with_the_same_sizes(folder: Path, mailboxes: MaildirMailboxes) -> None:
    ours = kept(mailboxes)
    give_away(folder / "mailboxes")
    with dovecot(folder) as port:
        client = log_in(port)
        assert client.list()[1] == [b"%d %d" % (number, len(mail)) for number, mail in enumerate(MAILS, 1)]
        for number, mail in enumerate(MAILS, 1):
            assert b"".join(line + b"\r\n" for line in client.retr(number)[1]) == mail
        assert kept(mailboxes) == ours  # moved to `cur` meanwhile
        client.dele(2)
        client.quit()
        log = (folder / "log").read_text()
        assert "Error" not in log, log
    assert kept(mailboxes) == [ours[0], ours[2]]

    session = mailboxes.open_session(ANNA)
    session.delete([0])
    session.close()
    give_away(folder / "mailboxes")
    with dovecot(folder) as port:
        client = log_in(port)
        assert client.stat() == (1, len(MAILS[2]))
        client.quit()
