"""The main job, shown: a mail server, two terminals that register themselves, a person with a mailbox.

Everything runs as its users would run it: real processes, started by the same commands, in a folder of its own.
The terminals stand on loopback addresses of their own (127.0.0.2, ...), which Linux has without being told.
"""

from __future__ import annotations

import contextlib
import json
import os
import poplib
import shlex
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lanpost.app.fax_extra import missing_libraries
from lanpost.errors import LanpostError
from lanpost.store.program_file import own_command

SERVER = "127.0.0.1"
DOMAIN = "office.lan"
PASSWORD = "correct horse battery"  # noqa: S105 - of a mailbox that lives as long as the demonstration
PATIENCE = 30.0  # seconds that any one step may take
PORTS = {"smtp": 2525, "submission": 2587, "pop3": 2110, "http": 8025}
TERMINAL_PORTS = {"fax1": 2526, "printer1": 2527, "fax2": 2528}
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # signals that ask for the end
PORT_TRIES = 10  # ports of the system's choosing that may turn out to be claimed

Found = TypeVar("Found")


class DemoError(LanpostError):
    """A step did not do what it shows; `str()` says which and what was seen."""


@dataclass
class Demo:
    """The processes and folders of one demonstration. `say` gets each line for the reader."""

    say: Callable[[str], object]
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="lanpost-demo-")))
    ports: dict[str, int] = field(default_factory=dict)
    terminal_ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    claims: ExitStack = field(default_factory=ExitStack)
    started: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """All steps, in order. Raises DemoError at the first that fails."""
        self.ports = {name: _free_port(SERVER, port, self.claims) for name, port in PORTS.items()}
        every = "0.0.0.0"  # noqa: S104 - the terminals move from one loopback address to another
        self.terminal_ports = {name: _free_port(every, port, self.claims) for name, port in TERMINAL_PORTS.items()}
        self._start_server()
        self._start_terminal("fax1", "127.0.0.2")
        self._start_terminal("printer1", "127.0.0.3")
        self._lanpost("user", "add", "anna", "--password-stdin", given=PASSWORD + "\n")
        self._tell("a person: anna has a mailbox")

        self._send("fax1", "The first page", "127.0.0.2")
        self._send("printer1", "A page for the printer", "127.0.0.3")
        self._move("fax1", "127.0.0.4")
        self._send("fax1", "A page that follows the terminal", "127.0.0.4")
        self._hold_and_release("printer1", "127.0.0.5")
        self._mailbox("Lunch?")
        if missing := missing_libraries():
            self._tell(f"no fax is shown: {missing}")
        else:
            self._fax("fax2", "127.0.0.6", "127.0.0.7")

    def stop(self) -> None:
        """End every process and remove the folder."""
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
        self.claims.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def things_to_try(self) -> Iterator[str]:
        """What to do by hand while it is up."""
        config = self.folder / "lanpost.toml"
        lanpost = Path(sys.argv[0]).resolve() if Path(sys.argv[0]).name == "lanpost" else shlex.join(own_command())
        smtp = f"{SERVER}:{self.ports['smtp']}"
        yield "send a mail:        "
        yield f"    swaks --server {smtp} --from me@{DOMAIN} --to fax1@{DOMAIN}"
        yield (
            f"    printf 'Subject: hello\\n\\nhello\\n' | curl --url smtp://{smtp} --mail-from me@{DOMAIN} "
            f"--mail-rcpt anna@{DOMAIN} -T -"
        )
        yield "fetch anna's mail:"
        yield f"    curl --user 'anna:{PASSWORD}' pop3://{SERVER}:{self.ports['pop3']}/"
        yield (
            f"    or any mail client: SMTP {SERVER} port {self.ports['submission']}, "
            f"POP3 port {self.ports['pop3']}, STARTTLS"
        )
        yield "see where everybody is, and what waits:"
        yield f"    export LANPOST_CONFIG={config}"
        yield "    " + "; ".join(
            f"{lanpost} {word}" for word in ("chart list", "lookup fax1", "queue list", "status", "watch")
        )
        if not missing_libraries():
            yield "send a fax, and see the page:"
            yield f"    echo hello > /tmp/hello.txt; {lanpost} fax send /tmp/hello.txt --to fax2"
            yield f"    ls {self.folder}/fax2/data/faxes/*/page-001.png"
        yield "what the terminals have received, and the server's log:"
        yield f"    ls {self.folder}/*/data/mail/new"
        yield f"    tail -f {self.folder}/server.log"

    def _start_server(self) -> None:
        config = self.folder / "lanpost.toml"
        listen = {name: f'listen = ["{SERVER}:{port}"]' for name, port in self.ports.items()}
        config.write_text(
            f'domain = "{DOMAIN}"\nhostname = "post.{DOMAIN}"\ndata = "data"\n'
            f"[smtp]\n{listen['smtp']}\n[submission]\n{listen['submission']}\n"
            f"[pop3]\n{listen['pop3']}\n[http]\n{listen['http']}\n"
            f'[delivery]\nendpoint_ports = {sorted(self.terminal_ports.values())}\n[log]\nformat = "json"\n',
            "utf-8",
        )
        self._start("server", "serve", "--config", str(config))
        for name, port in self.ports.items():
            self._wait(partial(_answers, SERVER, port), f"the server listens for {name} at port {port}", "server")
        services = ", ".join(f"{name} {port}" for name, port in self.ports.items())
        self._tell(f"a mail server with registrar and chart inside, at {SERVER} ({services})")

    def _start_terminal(
        self, name: str, address: str, what: str = "terminal", program: Sequence[str] = ("agent",)
    ) -> None:
        token = json.loads(self._lanpost("terminal", "add", name, "--json"))["token"]
        self._configure_terminal(name, address)
        config = str(self.folder / name / "lanpost.toml")
        self._lanpost("agent", "enrol", token, "--config", config)
        self._start(name, *program, "--config", config)
        self._wait_for_binding(name, address)
        self._tell(f"a {what}: {name} has registered itself at {address}:{self.terminal_ports[name]}")

    def _configure_terminal(self, name: str, address: str) -> None:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "lanpost.toml").write_text(
            f'data = "data"\n[agent]\nreceive = "mail"\naddress = "{address}"\n'
            f"port = {self.terminal_ports[name]}\n",
            "utf-8",
        )

    def _move(self, name: str, address: str) -> None:
        """What DHCP would do: the terminal finds itself at another address."""
        before = time.monotonic()
        self._configure_terminal(name, address)
        self.processes[name].send_signal(signal.SIGHUP)
        self._wait_for_binding(name, address)
        self._tell(
            f"{name} moves: it is at {address} now and has said so itself, "
            f"{1000 * (time.monotonic() - before):.0f} ms after the change"
        )

    def _hold_and_release(self, name: str, address: str) -> None:
        """A mail for a terminal that is away waits, and leaves when the terminal is back, somewhere else."""
        self.processes[name].terminate()
        self.processes[name].wait(PATIENCE)
        self._lanpost("agent", "status", "--config", str(self.folder / name / "lanpost.toml"), may_fail=True)
        subject = "A page that waits"
        self._hand_in(name, subject)
        self._tell(f"{name} is switched off; a mail for it is accepted, durable, and waits")
        before = time.monotonic()
        self._configure_terminal(name, address)
        self._start(name, "agent", "--config", str(self.folder / name / "lanpost.toml"))
        self._wait_for_arrival(name, subject)
        self._tell(
            f"{name} is switched on again, at {address}: the mail that waited has arrived, "
            f"{time.monotonic() - before:.1f} s after the start of its agent"
        )

    def _send(self, name: str, subject: str, address: str) -> None:
        before = time.monotonic()
        said = self._hand_in(name, subject)
        answered = time.monotonic()
        self._wait_for_arrival(name, subject)
        self._tell(
            f'mail "{subject}" to {name}: arrived at {address} ({said}; '
            f"answered after {1000 * (answered - before):.0f} ms)"
        )
        if self._endpoint_of(name) != f"{address}:{self.terminal_ports[name]}":
            raise DemoError(f"the chart says {self._endpoint_of(name)} of {name}, not {address}")

    def _hand_in(self, name: str, subject: str) -> str:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = f"me@{DOMAIN}", f"{name}@{DOMAIN}", subject
        mail.set_content(f"{subject}\n\nSent at {time.strftime('%H:%M:%S')}.\n")
        # A name of ours is given, since smtplib would otherwise ask DNS for one.
        with smtplib.SMTP(SERVER, self.ports["smtp"], local_hostname="demo", timeout=PATIENCE) as client:
            client.ehlo()
            client.mail(f"me@{DOMAIN}")
            code, said = client.rcpt(f"{name}@{DOMAIN}")
            if code == 250:
                code, said = client.data(mail.as_bytes())
        if code != 250:
            raise DemoError(f"the mail to {name} was not accepted: {code} {said.decode()}")
        return said.decode()

    def _mailbox(self, subject: str) -> None:
        self._hand_in("anna", subject)
        client = poplib.POP3(SERVER, self.ports["pop3"], timeout=PATIENCE)
        trusted = ssl.create_default_context(cafile=str(self._ca_file()))
        client.stls(trusted)
        client.user("anna")
        client.pass_(PASSWORD)
        lines = client.retr(1)[1]
        client.quit()
        if f"Subject: {subject}".encode() not in lines:
            raise DemoError(f'anna\'s mailbox does not hold "{subject}" but {lines!r}')
        self._tell(f'mail "{subject}" to anna: fetched by POP3, over TLS')

    def _fax(self, name: str, first: str, second: str) -> None:
        """A page for a fax machine that has moved: its picture is at the machine, the report here."""
        self._start_terminal(name, first, "fax machine", ("fax", "receive"))
        self._move(name, second)
        page = self.folder / "letter.txt"
        page.write_text(f"A fax for {name}, wherever it is.\n\nSent at {time.strftime('%H:%M:%S')}.\n", "utf-8")
        words = ("--to", name, "--from", f"me@{DOMAIN}", "--header", "--via", f"{SERVER}:{self.ports['smtp']}")
        report = self._lanpost("fax", "send", str(page), *words)
        pictures = sorted((self.folder / name / "data" / "faxes").glob("2*/*.png"))
        if not pictures:
            raise DemoError(f"{name} has no picture of the fax:\n{report}")
        self._tell(f"a fax to {name}, which is at {second} now: arrived; its page is {pictures[0]}")
        for line in report.splitlines():
            self.say(f"             {line}")

    def _ca_file(self) -> Path:
        file = self.folder / "ca.pem"
        file.write_text(self._lanpost("ca", "export"))
        return file

    def _wait_for_binding(self, name: str, address: str) -> None:
        wanted = f"{address}:{self.terminal_ports[name]}"
        self._wait(lambda: self._endpoint_of(name) == wanted, f"{name} is registered at {wanted}", name)

    def _endpoint_of(self, name: str) -> str | None:
        found: str | None = json.loads(self._lanpost("lookup", name, "--json"))["endpoint"]
        return found

    def _wait_for_arrival(self, name: str, subject: str) -> None:
        inbox = self.folder / name / "data" / "mail" / "new"
        line = f"Subject: {subject}\n".encode()

        def arrived() -> bool:
            return any(line in file.read_bytes().replace(b"\r\n", b"\n") for file in inbox.glob("*"))

        self._wait(arrived, f'the mail "{subject}" arrives at {name}', name)

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._spawn(name, *arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _lanpost(self, *arguments: str, given: str = "", may_fail: bool = False) -> str:
        """Run a command as an administrator would, and return what it printed."""
        environment = {**os.environ, "LANPOST_CONFIG": str(self.folder / "lanpost.toml")}
        pipe = subprocess.PIPE
        done = self._spawn("command", *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        said, complaint = done.communicate(given.encode(), PATIENCE)
        if done.returncode and not may_fail:
            raise DemoError(f"lanpost {' '.join(arguments[:2])} failed: {complaint.decode().strip()}")
        return said.decode()

    def _spawn(self, name: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a process that `stop` ends."""
        # A handler's exception amid the start would lose the process: the signal waits until it is noted.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        unblock = partial(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        try:
            command = [*own_command(), *arguments]
            self.processes[name] = subprocess.Popen(command, preexec_fn=unblock, **options)
            return self.processes[name]
        finally:
            unblock()

    def _wait(self, ready: Callable[[], Found], what: str, process: str) -> Found:
        """Until `ready` gives something true, within PATIENCE and while the process lives."""
        deadline = time.monotonic() + PATIENCE
        while not (found := ready()):
            log = self.folder / f"{process}.log"
            if self.processes[process].poll() is not None:
                raise DemoError(f"{process} has ended, before {what}:\n{_end_of(log)}")
            if time.monotonic() > deadline:
                raise DemoError(f"waited {PATIENCE:.0f} s in vain until {what}:\n{_end_of(log)}")
            time.sleep(0.02)
        return found

    def _tell(self, line: str) -> None:
        self.say(f"{time.monotonic() - self.started:7.3f} s  {line}")


def _free_port(host: str, wanted: int, claims: ExitStack) -> int:
    """The wanted port, or any other where that is taken; it is no other demonstration's while `claims` is open."""
    for port in (wanted, *[0] * PORT_TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            found = int(probe.getsockname()[1])
            # Between here and the server's own bind a second demonstration would find the port free as well. A name
            # in the abstract namespace is held by one process, goes with it, and is as far-reaching as the port.
            with ExitStack() as claim:
                claim.enter_context(socket.socket(socket.AF_UNIX)).bind(f"\0lanpost-demo-{found}")
                claims.push(claim.pop_all())
                return found
    raise DemoError(f"no free port at {host}")


def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
