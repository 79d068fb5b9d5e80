"""An agent whose token names a directory and nothing else: mail finds it through a mail server that asks there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.agent_program import AgentProgram
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram
from tests.program import Program, as_toml
from tests.slapd import Slapd
from tests.terminals import Terminals, subjects

from lanpost.model.token import EnrolmentToken


@dataclass(frozen=True)
class Site:
    """A mail server whose chart is in a directory, and where terminals are enrolled."""

    mail: Program
    enrolling: Program


@contextmanager
def our_directory(folder: Path) -> Iterator[Site]:
    mail_folder = folder / "mail"
    directory = DirectoryProgram(folder / "directory")
    chart = {"url": f"{directory.url}/{BASE}", "bind_dn": ADMIN, "password_file": "password"}
    mail = Program(mail_folder, {"chart": chart})
    (mail_folder / "password").write_text(PASSWORD, "ascii")
    directory.settings["delivery"]["endpoint_ports"] = [mail.endpoint_port]
    directory.write_settings()
    with directory, mail:
        yield Site(mail, directory)


@contextmanager
def slapd(folder: Path, *, dds: bool) -> Iterator[Site]:
    directory = Slapd(dds=dds, tls=True)
    chart = {"url": f"{directory.url}/{directory.base}", "bind_dn": directory.bind_dn, "password_file": "password"}
    mail = Program(folder, {"chart": chart, "ldap": {"urls": [directory.ldaps_url]}})
    (folder / "password").write_text(directory.password, "ascii")
    # slapd shows a certificate of the mail server's authority.
    pem = directory.ca_file.parent / "slapd.pem"
    pem.unlink()
    mail.lanpost("ca", "issue-server", directory.host, "--out", str(pem))
    directory.ca_file.write_text(mail.lanpost("ca", "export"), "ascii")
    with directory, mail:
        yield Site(mail, mail)


@contextmanager
def slapd_with_leases(folder: Path) -> Iterator[Site]:
    with slapd(folder, dds=True) as site:
        yield site


@contextmanager
def slapd_without_leases(folder: Path) -> Iterator[Site]:
    with slapd(folder, dds=False) as site:
        yield site


@pytest.fixture(
    scope="module",
    params=[
        our_directory,
        pytest.param(slapd_with_leases, marks=pytest.mark.peer),
        pytest.param(slapd_without_leases, marks=pytest.mark.peer),
    ],
    ids=lambda opener: str(opener.__name__),
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    opener: Callable[[Path], Any] = request.param
    with ExitStack() as stack:
        yield stack.enter_context(opener(tmp_path_factory.mktemp("site")))


def send(mail: Program, to: str, subject: str) -> None:
    with mail.smtp() as client:
        assert not client.sendmail("anna@office.lan", [to], f"Subject: {subject}\r\n\r\nx\r\n")


def outcome(mail: Program, name: str) -> tuple[str, str | None]:
    found = mail.lanpost_json("lookup", name)
    return found["outcome"], found["endpoint"]


def test_mail_follows_a_terminal_that_speaks_to_the_directory_alone(
    site: Site, terminals: Terminals, tmp_path: Path
) -> None:
    mail, name = site.mail, site.mail.new_name()
    address, first, second = f"{name}@office.lan", mail.new_endpoint(), mail.new_endpoint()
    here, there = terminals.listen(first), terminals.listen(second)
    token = site.enrolling.lanpost_json("terminal", "add", name, "--ldap")
    assert all(url.startswith("ldaps://") for url in EnrolmentToken.decode(token["token"]).urls)
    send(mail, address, "held")

    agent = AgentProgram(tmp_path, token["token"], first)
    with agent.running():
        mail.wait_until(lambda: outcome(mail, name) == ("endpoint", f"{first[0]}:{first[1]}"), "the registration")
        mail.wait_until(lambda: subjects(here.mails) == ["held"], "the held mail")
        send(mail, address, "at the first address")
        assert subjects(here.mails) == ["held", "at the first address"]

        agent.says_it_is_at(second)
        mail.wait_until(lambda: outcome(mail, name) == ("endpoint", f"{second[0]}:{second[1]}"), "the move")
        send(mail, address, "at the second address")
        assert subjects(there.mails) == ["at the second address"]
    assert outcome(mail, name) == ("hold", None)  # it has said goodbye


def test_a_secret_that_was_replaced_or_removed_is_worth_nothing(site: Site, tmp_path: Path) -> None:
    name = site.mail.new_name()
    at = site.mail.new_endpoint()
    secrets = [site.enrolling.lanpost_json("terminal", "add", name, "--ldap")]
    secrets.append(site.enrolling.lanpost_json("terminal", "rotate", name, "--ldap"))
    file = tmp_path / "agent.toml"
    file.write_text(as_toml({"data": "agent", "agent": {"port": at[1], "address": at[0]}}))

    def enrol(token: dict[str, Any], status: int) -> str:
        return site.mail.lanpost("agent", "enrol", token["token"], config=file, status=status)

    assert "terminal rotate --ldap" in enrol(secrets[0], 1)
    enrol(secrets[1], 0)
    assert f"{at[0]}:{at[1]}" in site.mail.lanpost("agent", "--once", config=file)

    site.enrolling.lanpost("terminal", "rotate", name)  # the new token is for HTTPS
    assert "terminal rotate --ldap" in enrol(secrets[1], 1)
    site.enrolling.lanpost("terminal", "rotate", name, "--ldap")
    site.enrolling.lanpost("terminal", "remove", name)
    assert "terminal rotate --ldap" in enrol(secrets[1], 1)
    assert outcome(site.mail, name)[0] == "unknown"
