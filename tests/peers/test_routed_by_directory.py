"""docs/other-mail-servers.md holds: Postfix and Exim, set up as it says, route real mails by our directory."""

from __future__ import annotations

import re
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.processes import free_port
from tests.directory_program import DirectoryProgram
from tests.enrolled import Enrolled
from tests.mail_servers import EximParts, EximServer, MailServer, PostfixServer, SendmailServer, wait_until
from tests.program import DOMAIN, HOST, Program
from tests.sessions.scripted_endpoint import ScriptedEndpoint
from tests.terminals import Terminals, subjects

pytestmark = pytest.mark.peer
PAGE = (Path(__file__).parents[2] / "docs/other-mail-servers.md").read_text("utf-8")
SENDER = f"anna@{DOMAIN}"
ACCOUNT = "relay"  # what the page calls the mail server's
AWAY = "this terminal has no address at present"
# It keeps no mail itself, and looks after what waits each second.
POSTFIX_IN_TESTS = {
    "virtual_mailbox_domains": "",
    "inet_protocols": "all",
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "1s",
}
KINDS = pytest.mark.parametrize("kind", ["postfix", "exim", "sendmail"])
THOSE_WHO_LOG_IN = pytest.mark.parametrize("kind", ["postfix", "exim"])


@pytest.fixture
def terminals() -> Iterator[Terminals]:
    with Terminals() as running:
        yield running


@pytest.fixture
def files() -> Iterator[Path]:
    """What stands for /etc/postfix and /etc/exim4: the servers' own users cannot enter pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix="lanpost-routes-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryProgram]:
    """One that anybody may read."""
    with DirectoryProgram(tmp_path_factory.mktemp("directory")) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryProgram]:
    """One where only those who bind may read, the mail server's account among them."""
    with DirectoryProgram(tmp_path_factory.mktemp("closed"), {"ldap": {"anonymous": "none"}}) as running:
        running.enrol(ACCOUNT)
        yield running


class Page:
    """What is written there, for servers whose directory is at that URL and whose files are in that folder."""

    def __init__(self, url: str, files: Path, secret: str = "") -> None:
        self._url = url
        self._files = files
        self._secret = secret

    def block(self, kind: str) -> str:
        (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
        text = str(found)
        for written, here in {
            "ldap://192.0.2.5": self._url,
            "/etc/postfix": str(self._files),
            "/etc/exim4": str(self._files),
            "SECRET": self._secret,
        }.items():
            text = text.replace(written, here)
        return text

    def _postfix(self) -> PostfixServer:
        lines = self.block("postfix-ldap")
        if self._secret:
            lines = lines.replace("bind = no\n", self.block("postfix-login"))
        if self._url.startswith("ldaps:"):
            lines = lines.replace("start_tls = yes\n", "")
        (self._files / "lanpost.cf").write_text(lines, "ascii")
        (commands,) = [text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "sed " in text]
        subprocess.run(["sh", "-ec", commands.replace("/etc/postfix", str(self._files))], check=True)
        settings = dict(line.split(" = ", 1) for line in self.block("postfix-main").splitlines())
        services = self.block("postfix-master")
        return PostfixServer(
            self._files, HOST, free_port(), settings=settings | POSTFIX_IN_TESTS, services=services
        )

    def _exim(self) -> EximServer:
        main = self.block("exim-login" if self._secret else "exim-main")
        if self._url.startswith("ldaps:"):
            main = main.replace("ldap_start_tls\n", "")
        password = self._files / "lanpost.password"
        password.write_text(self._secret, "ascii")
        password.chmod(0o400)
        parts = EximParts(main, self.block("exim-acl"), self.block("exim-routers"))
        server = EximServer(self._files, HOST, free_port(), parts=parts)
        shutil.chown(password, "Debian-exim")
        return server

    def _sendmail(self, port: int) -> SendmailServer:
        """The page's port is 25."""
        features = self.block("sendmail-features").replace("TCP $h 25", f"TCP $h {port}")
        return SendmailServer(self._files, HOST, free_port(), features, self.block("sendmail-end"))

    def server(self, kind: str, port: int) -> MailServer:
        """`port`: of all terminals."""
        if kind == "sendmail":
            return self._sendmail(port)
        return self._postfix() if kind == "postfix" else self._exim()


def send(server: MailServer, to: str, subject: str) -> tuple[int, bytes]:
    """What RCPT was answered; the mail is sent where it was accepted."""
    with smtplib.SMTP(server.host, server.port, timeout=30) as client:
        client.ehlo()
        client.mail(SENDER)
        answer = client.rcpt(to)
        if answer[0] == 250:
            assert client.data(f"From: <{SENDER}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\nx\r\n")[0] == 250
        return answer


class Site:
    """A mail server that asks a directory, and terminals to which it sends."""

    def __init__(self, directory: Program, server: MailServer, terminals: Terminals) -> None:
        self.directory = directory
        self.server = server
        self._terminals = terminals
        self._other = Enrolled.new(directory)
        self._other_place = directory.new_endpoint()
        self._other_endpoint = terminals.listen(self._other_place)

    def new_place(self) -> tuple[tuple[str, int], ScriptedEndpoint]:
        """Where a terminal may say it is."""
        place = self.directory.new_endpoint()
        return place, self._terminals.listen(place)

    def mail_to_another(self) -> None:
        """Postfix remembers the last recipient."""
        self._other.register(self._other_place)
        before = len(self._other_endpoint.mails)
        assert send(self.server, self._other.address, "to another")[0] == 250
        self.wait_until(lambda: len(self._other_endpoint.mails) > before, "mail to another")

    def arrives(self, endpoint: ScriptedEndpoint, *expected: str) -> None:
        """These mails, and no others."""
        self.wait_until(lambda: len(endpoint.mails) >= len(expected), f"{expected} at the terminal")
        assert subjects(endpoint.mails) == list(expected)

    def puts_off_a_mail(self) -> None:
        said = "MDeferred" if isinstance(self.server, SendmailServer) else AWAY
        self.wait_until(lambda: said in self.server.log(), "a mail to be put off")

    def wait_until(self, done: Callable[[], bool], what: str) -> None:
        wait_until(done, what, lambda: self.server.log() + self.directory.log())


@KINDS
def test_mail_follows_a_terminal_that_moves_goes_and_comes_back(
    kind: str, directory: DirectoryProgram, terminals: Terminals, files: Path
) -> None:
    with Page(directory.url, files).server(kind, directory.endpoint_port) as server:
        site, fax = Site(directory, server, terminals), Enrolled.new(directory)
        (first, at_first), (second, at_second), (third, at_third) = (site.new_place() for _ in range(3))
        fax.register(first)
        assert send(server, fax.address, "one")[0] == 250
        site.arrives(at_first, "one")
        site.mail_to_another()
        fax.register(second)
        assert send(server, fax.address.title(), "two")[0] == 250
        site.arrives(at_second, "two")
        site.mail_to_another()
        fax.say_goodbye()
        assert send(server, fax.address, "three")[0] == 250
        site.puts_off_a_mail()
        fax.register(third)
        site.mail_to_another()
        site.arrives(at_third, "three")
    assert (subjects(at_first.mails), subjects(at_second.mails)) == (["one"], ["two"])


@KINDS
def test_an_unknown_address_is_refused_and_an_expired_one_waits(
    kind: str, directory: DirectoryProgram, terminals: Terminals, files: Path
) -> None:
    with Page(directory.url, files).server(kind, directory.endpoint_port) as server:
        site, fax = Site(directory, server, terminals), Enrolled.new(directory)
        assert send(server, f"nobody@{DOMAIN}", "lost")[0] == 550
        place, endpoint = site.new_place()
        fax.register(place, lifetime="1s")
        site.wait_until(
            lambda: directory.lanpost_json("lookup", fax.name)["outcome"] == "hold", "the end of the lease"
        )
        assert send(server, fax.address, "late")[0] == 250
        site.puts_off_a_mail()
        assert endpoint.connections == 0
        directory.lanpost("terminal", "remove", fax.name)
        assert send(server, fax.address, "later")[0] == 550


@THOSE_WHO_LOG_IN
def test_mail_goes_to_an_ipv6_address(
    kind: str, directory: DirectoryProgram, terminals: Terminals, files: Path
) -> None:
    place = "::1", free_port()
    endpoint = terminals.listen(place)
    with Page(directory.url, files).server(kind, directory.endpoint_port) as server:
        site, name = Site(directory, server, terminals), directory.new_name()
        directory.add(name, place[0], f"lanpostPort: {place[1]}")
        assert send(server, f"{name}@{DOMAIN}", "six")[0] == 250
        site.arrives(endpoint, "six")


@THOSE_WHO_LOG_IN
@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_where_only_those_who_bind_may_read(
    kind: str, scheme: str, closed: DirectoryProgram, terminals: Terminals, files: Path
) -> None:
    secret = closed.lanpost_json("terminal", "rotate", ACCOUNT)["secret"]
    shutil.copy(closed.ca_file, files / "lanpost-ca.pem")
    (files / "lanpost-ca.pem").chmod(0o644)
    with Page(closed.url.replace("ldap", scheme), files, secret).server(kind, closed.endpoint_port) as server:
        site, fax = Site(closed, server, terminals), Enrolled.new(closed)
        place, endpoint = site.new_place()
        fax.register(place)
        assert send(server, fax.address, "confidential")[0] == 250
        site.arrives(endpoint, "confidential")
        assert send(server, f"nobody@{DOMAIN}", "lost")[0] == 550


@THOSE_WHO_LOG_IN
def test_without_a_login_nobody_is_told_that_an_address_is_unknown(
    kind: str, closed: DirectoryProgram, terminals: Terminals, files: Path
) -> None:
    with Page(closed.url, files).server(kind, closed.endpoint_port) as server:
        answer = send(server, f"nobody@{DOMAIN}", "who knows")
        assert answer[0] == (451 if kind == "postfix" else 250), answer


@KINDS
def test_nothing_is_lost_while_the_directory_is_down(
    kind: str, tmp_path: Path, terminals: Terminals, files: Path
) -> None:
    directory = DirectoryProgram(tmp_path)
    with directory, Page(directory.url, files).server(kind, directory.endpoint_port) as server:
        site, fax = Site(directory, server, terminals), Enrolled.new(directory)
        place, endpoint = site.new_place()
        fax.register(place)
        assert send(server, fax.address, "before")[0] == 250
        site.arrives(endpoint, "before")
        site.mail_to_another()
        directory.stop()
        code, _ = send(server, fax.address, "meanwhile")
        assert code == (451 if kind == "postfix" else 250)
        directory.start()
        if kind == "postfix":
            site.wait_until(lambda: send(server, fax.address, "meanwhile")[0] == 250, "the sender's next try")
        site.arrives(endpoint, "before", "meanwhile")


def test_a_mail_server_of_ours_is_a_directory_for_another(
    tmp_path: Path, terminals: Terminals, files: Path
) -> None:
    """`[ldap] listen` of `lanpost serve`: both deliver to the same terminal."""
    port = free_port()
    with (
        Program(tmp_path, {"ldap": {"listen": [f"{HOST}:{port}"]}}) as program,
        Page(f"ldap://{HOST}:{port}", files).server("postfix", 25) as server,
    ):
        site, fax = Site(program, server, terminals), Enrolled.new(program)
        place, endpoint = site.new_place()
        fax.register(place)
        assert send(server, fax.address, "by Postfix")[0] == 250
        site.arrives(endpoint, "by Postfix")
        with program.smtp() as client:
            client.sendmail(SENDER, [fax.address], "Subject: by lanpost\r\n\r\nx\r\n")
        site.arrives(endpoint, "by Postfix", "by lanpost")
