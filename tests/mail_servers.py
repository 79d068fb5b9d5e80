"""Foreign mail servers as processes of a test: each in a folder of its own, its mail in a Maildir there.

    with PostfixServer(tmp_path / "postfix", "127.0.0.9", port) as server: ...; server.wait_for_mail(1)

Entering one skips the test when the software is not installed.
"""

from __future__ import annotations

import mailbox
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from bench.postfix_instance import PostfixInstance
from bench.processes import await_banner, program, stop

PATIENCE = 30.0  # seconds that a server may take to start, or a mail to arrive
EXIM = Path(os.environ.get("LANPOST_EXIM", Path(__file__).parent.parent / ".make/exim/usr/sbin/exim4"))
SENDMAIL = Path(os.environ.get("LANPOST_SENDMAIL", Path(__file__).parent.parent / ".make/sendmail/usr"))
# No DNS, no files of the machine's own.
SENDMAIL_CONFIGURATION = """\
include(`{usr}/share/sendmail/cf/m4/cf.m4')
OSTYPE(`linux')
define(`confDOMAIN_NAME', `sendmail.office.lan')
define(`QUEUE_DIR', `{folder}/queue')
define(`confPID_FILE', `{folder}/pid')
define(`STATUS_FILE', `{folder}/status')
define(`ALIAS_FILE', `')
define(`confCW_FILE', `-o /dev/null')
define(`confSERVICE_SWITCH_FILE', `{folder}/service.switch')
define(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe')
define(`confDONT_PROBE_INTERFACES', `True')
DAEMON_OPTIONS(`Name=MTA, Addr={host}, Port={port}')
{features}
MAILER(`local')
MAILER(`smtp')
{end}
"""
EXIM_CONFIGURATION = """\
exim_path = {exim}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = <; {host}
daemon_smtp_ports = {port}
primary_hostname = exim.office.lan
tls_advertise_hosts =
host_lookup =
keep_environment =
message_size_limit = 50M
smtp_accept_queue_per_connection = 0
smtputf8_advertise_hosts = *
acl_smtp_rcpt = check_recipient
acl_smtp_data = accept
{main}
begin acl
check_recipient:
{acl}
  accept
begin routers
{routers}
begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  envelope_to_add
  return_path_add
  user = {user}
relay:
  driver = smtp
  port = {relay_port}
  allow_localhost
  hosts_try_fastopen =
remote_smtp:
  driver = smtp
  allow_localhost
  hosts_try_fastopen =
begin retry
* * F,1h,1s
"""
EXIM_DELIVERS = "all:\n  driver = accept\n  transport = maildir\n"
EXIM_RELAYS = "all:\n  driver = manualroute\n  route_list = * {host}\n  transport = relay\n  self = send\n"


@dataclass(frozen=True)
class EximParts:
    """What a test adds to Exim's configuration; `routers` are instead of those that keep all mail or relay it."""

    main: str = ""
    acl: str = ""  # of RCPT
    routers: str = ""


def wait_until(done: Callable[[], bool], what: str, log: Callable[[], str], seconds: float = PATIENCE) -> None:
    """Return when `done()` is true; fail the test, with the log as it is then, when it never is."""
    give_up = time.monotonic() + seconds
    while not done():
        if time.monotonic() > give_up:
            pytest.fail(f"waited {seconds:.0f} s in vain: {what}\n{log()}")
        time.sleep(0.02)


def make_maildir(folder: Path, owner: str) -> None:
    """All of it at once: one that a server is still making looks broken to its reader."""
    for part in (folder, folder / "tmp", folder / "new", folder / "cur"):
        part.mkdir()
        shutil.chown(part, owner)


class MailServer:
    """What all of them have. `relay`: hands every mail on to that IP:port instead of keeping it."""

    def __init__(self, folder: Path, host: str, port: int, relay: tuple[str, int] | None = None) -> None:
        self.folder = folder
        self.host = host
        self.port = port
        self.relay = relay

    def mails(self) -> list[mailbox.MaildirMessage]:
        """What has arrived, in no order."""
        return list(mailbox.Maildir(self.folder / "mail", create=False))

    def wait_for_mail(self, count: int) -> list[mailbox.MaildirMessage]:
        """Wait until that many have arrived."""
        wait_until(lambda: len(self.mails()) >= count, f"{count} mails at {type(self).__name__}", self.log)
        return self.mails()

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def log(self) -> str:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class PostfixServer(MailServer):
    """Postfix: takes mail for any address."""

    def __init__(
        self,
        folder: Path,
        host: str,
        port: int,
        relay: tuple[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
        services: str = "",
    ) -> None:
        super().__init__(folder, host, port, relay)
        if reason := PostfixInstance.lacks():
            pytest.skip(reason)
        # Postfix's users cannot enter pytest's own folders, which are their owner's alone.
        self.folder = Path(tempfile.mkdtemp(prefix="lanpost-postfix-"))
        self.folder.chmod(0o755)
        make_maildir(self.folder / "mail", "nobody")
        chosen = {"myhostname": "postfix.office.lan"}
        if relay:
            chosen |= {"relayhost": f"[{relay[0]}]:{relay[1]}", "smtp_tls_security_level": "may"}
        else:
            chosen |= {
                "virtual_mailbox_domains": "static:all",
                "virtual_mailbox_maps": "static:./",
                "virtual_mailbox_base": f"{self.folder}/mail",
                "virtual_mailbox_limit": "0",
                "virtual_minimum_uid": "1",
                "virtual_uid_maps": "static:65534",
                "virtual_gid_maps": "static:65534",
            }
        listen = f"{host}:{port}"
        self._instance = PostfixInstance(self.folder / "postfix", listen, chosen | dict(settings or {}), services)

    def start(self) -> None:
        self._instance.start()
        await_banner(self.port, PATIENCE, host=self.host)

    def stop(self) -> None:
        self._instance.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return self._instance.log()


class EximServer(MailServer):
    """Exim 4: takes mail for any address."""

    def __init__(
        self,
        folder: Path,
        host: str,
        port: int,
        relay: tuple[str, int] | None = None,
        parts: EximParts | None = None,
    ) -> None:
        super().__init__(folder, host, port, relay)
        parts = parts or EximParts()
        if not os.access(EXIM, os.X_OK):
            pytest.skip(f"Exim is not at {EXIM}: scripts/install-peers")
        if os.geteuid() != 0:
            pytest.skip("Exim starts only as root")
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="lanpost-exim-"))
        self.folder.chmod(0o755)
        make_maildir(self.folder / "mail", "Debian-exim")
        (self.folder / "spool").mkdir()
        for folder in (self.folder, self.folder / "spool"):
            shutil.chown(folder, "Debian-exim", "Debian-exim")
        # Exim runs itself anew as its own user, who may not be let into the folder of this checkout.
        self._exim = Path(shutil.copy(EXIM, self.folder / "exim4"))
        self._file = self.folder / "exim.conf"
        self._file.write_text(
            EXIM_CONFIGURATION.format(
                exim=self._exim,
                folder=self.folder,
                host=host,
                port=port,
                user="Debian-exim",
                main=parts.main,
                acl=parts.acl,
                routers=parts.routers or (EXIM_RELAYS.format(host=relay[0]) if relay else EXIM_DELIVERS),
                relay_port=relay[1] if relay else 25,
            ),
            "ascii",
        )

    def start(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [str(self._exim), "-C", str(self._file), "-bdf", "-q1s"], stdout=output, stderr=output
            )
        await_banner(self.port, PATIENCE, self._process, host=self.host)

    def stop(self) -> None:
        stop(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        files = [self.folder / name for name in ("output", "mainlog", "paniclog")]
        return "".join(file.read_text("utf-8", "replace") for file in files if file.exists())


class SendmailServer(MailServer):
    """sendmail, configured by these lines of m4; it keeps no mail."""

    def __init__(self, folder: Path, host: str, port: int, features: str, end: str) -> None:
        super().__init__(folder, host, port)
        if not (SENDMAIL / "libexec/sendmail/sendmail").exists() or not program("m4"):
            pytest.skip(f"sendmail is not at {SENDMAIL}, or there is no m4: scripts/install-peers")
        if os.geteuid() != 0:
            pytest.skip("sendmail starts only as root")
        if subprocess.run(["unshare", "--uts", "true"], check=False).returncode:
            pytest.skip("sendmail wants a host name of its own, which nobody gets here")
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="lanpost-sendmail-"))
        self.folder.chmod(0o755)
        (self.folder / "queue").mkdir(0o700)
        (self.folder / "service.switch").write_text("hosts files\naliases files\n", "ascii")
        macros = SENDMAIL_CONFIGURATION.format(
            usr=SENDMAIL, folder=self.folder, host=host, port=port, features=features, end=end
        )
        made = subprocess.run([program("m4") or "m4"], input=macros, capture_output=True, text=True, check=True)
        (self.folder / "sendmail.cf").write_text(made.stdout, "ascii")

    def start(self) -> None:
        daemon = (
            f"{SENDMAIL}/libexec/sendmail/sendmail -C {self.folder}/sendmail.cf -bD -q1s -X {self.folder}/traffic"
        )
        with (self.folder / "output").open("ab") as output:
            # A host whose name has no domain would keep it waiting for a minute.
            self._process = subprocess.Popen(
                ["unshare", "--uts", "sh", "-c", f"hostname sendmail.office.lan && exec {daemon}"],
                stdout=output,
                stderr=output,
            )
        await_banner(self.port, PATIENCE, self._process, host=self.host)

    def stop(self) -> None:
        stop(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What was said over SMTP, and what waits and why."""
        files = [self.folder / "output", self.folder / "traffic", *(self.folder / "queue").glob("qf*")]
        return "".join(file.read_text("utf-8", "replace") for file in files if file.exists())
