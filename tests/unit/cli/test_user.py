"""`lanpost user`, as people and scripts run it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from argon2.profiles import CHEAPEST
from click.testing import CliRunner, Result

import lanpost as lanpost_package
from lanpost.app import people
from lanpost.app.authentication import Authenticator
from lanpost.app.config import load
from lanpost.app.inquiry import open_mailboxes
from lanpost.cli.main import lanpost
from lanpost.errors import LanpostError
from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.service.passwords import Passwords
from lanpost.store.accounts import SqliteAccounts

ANNA = MailAddress.parse("anna@office.lan")
Run = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "lanpost.toml"
    file.write_text('domain = "office.lan"\ndata = "data"\n')
    return file


@pytest.fixture
def run(file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run it; an error of ours is raised, as `main` would print it."""
    monkeypatch.setattr(people, "Passwords", lambda: Passwords(CHEAPEST))

    def run(*arguments: str, stdin: str = "") -> Result:
        result = CliRunner().invoke(lanpost, ["user", *arguments, "--config", str(file)], input=stdin)
        if isinstance(result.exception, LanpostError):
            raise result.exception
        return result

    return run


def listed(run: Run) -> list[dict[str, object]]:
    result: list[dict[str, object]] = json.loads(run("list", "--json").stdout)
    return result


async def verified(file: Path, login: str, password: str) -> object:
    accounts = SqliteAccounts(load(str(file)).data / "accounts.sqlite3")
    authenticator = Authenticator(accounts, "office.lan", passwords=Passwords(CHEAPEST))
    try:
        return await authenticator.verify(login, password)
    finally:
        authenticator.close()
        accounts.close()


def who(file: Path, login: str, password: str) -> object:
    return asyncio.run(verified(file, login, password))


def test_a_person_added_can_log_in_and_has_a_mailbox(run: Run, file: Path) -> None:
    result = run("add", "anna", "--password-stdin", stdin=" correct horse \nmore\n")
    assert result.exit_code == 0
    assert result.stdout.startswith("anna@office.lan added")
    assert isinstance(who(file, "anna", " correct horse "), User)
    assert (file.parent / "data" / "mailboxes" / "anna@office.lan" / "new").is_dir()


def test_a_new_password_replaces_the_old(run: Run, file: Path) -> None:
    run("add", "anna", "--password-stdin", stdin="correct horse\n")
    assert run("password", "anna", "--password-stdin", stdin="another horse\n").exit_code == 0
    assert who(file, "anna", "correct horse") is None
    assert who(file, "anna", "another horse")


def test_everybody_is_listed(run: Run) -> None:
    assert listed(run) == []
    for name in ("otto", "Anna@office.lan"):
        run("add", name, "--password-stdin", stdin="correct horse\n")
    assert [(item["address"], item["mails"], item["octets"]) for item in listed(run)] == [
        ("Anna@office.lan", 0, 0),
        ("otto@office.lan", 0, 0),
    ]
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["ADDRESS", "MAILS", "SIZE", "CREATED"]
    assert lines[1].startswith("Anna@office.lan  0")


def deliver(file: Path) -> None:
    mailboxes = open_mailboxes(load(str(file)))
    mailboxes.deliver(ANNA, [b"Subject: x\r\n\r\n"]).result(20)
    mailboxes.close()


def test_mail_is_kept_at_removal_and_back_with_the_person(run: Run, file: Path) -> None:
    run("add", "anna", "--password-stdin", stdin="correct horse\n")
    deliver(file)
    assert "the mail is kept" in run("remove", "anna").stdout
    assert listed(run) == []
    with pytest.raises(LanpostError, match="no mailbox of anna"):
        deliver(file)
    assert "holds 1 mails already" in run("add", "anna", "--password-stdin", stdin="correct horse\n").stdout


def test_mail_can_be_deleted_with_the_person_and_after(run: Run, file: Path) -> None:
    run("add", "anna", "--password-stdin", stdin="correct horse\n")
    deliver(file)
    run("remove", "anna")
    assert "with all mail" in run("remove", "anna", "--delete-mail").stdout
    run("add", "anna", "--password-stdin", stdin="correct horse\n")
    assert listed(run)[0]["mails"] == 0


def test_the_postmasters_mailbox_stays(run: Run, file: Path) -> None:
    run("add", "postmaster", "--password-stdin", stdin="correct horse\n")
    run("remove", "postmaster", "--delete-mail")
    assert (file.parent / "data" / "mailboxes" / "postmaster@office.lan").is_dir()


@pytest.mark.parametrize(
    ("arguments", "stdin", "why"),
    [
        (["add", "otto", "--password-stdin"], "short\n", "at least 8 characters"),
        (["add", "otto", "--password-stdin"], "", "at least 8 characters"),
        (["add", "fax1", "--password-stdin"], "correct horse\n", "is a terminal's address"),
        (["add", "Anna", "--password-stdin"], "correct horse\n", "is there already"),
        (["add", "a b", "--password-stdin"], "correct horse\n", "is not a mail address"),
        (["add", "anna@[10.0.0.7]", "--password-stdin"], "correct horse\n", "a place, not a person"),
        (["password", "otto", "--password-stdin"], "correct horse\n", "no user here"),
        (["password", "anna", "--password-stdin"], "x\n", "at least 8 characters"),
        (["remove", "otto"], "", "no user here"),
        (["remove", "otto", "--delete-mail"], "", "no user here"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(
    run: Run, file: Path, arguments: list[str], stdin: str, why: str
) -> None:
    run("add", "anna", "--password-stdin", stdin="correct horse\n")
    accounts = SqliteAccounts(load(str(file)).data / "accounts.sqlite3")
    accounts.put_terminal(Terminal(MailAddress.parse("fax1@office.lan"), b"x" * 32, datetime.now(UTC)))
    before = list(accounts.users())
    with pytest.raises(LanpostError, match=why):
        run(*arguments, stdin=stdin)
    assert list(accounts.users()) == before
    accounts.close()
    assert sorted(path.name for path in (file.parent / "data" / "mailboxes").iterdir() if path.name[0] != "%") == [
        "anna@office.lan",
        "postmaster@office.lan",
    ]


def test_without_a_terminal_the_option_is_named(run: Run) -> None:
    result = run("add", "anna")
    assert result.exit_code == 2
    assert "--password-stdin" in result.stderr
    assert listed(run) == []


def test_on_a_terminal_the_password_is_asked_twice_and_not_shown(file: Path) -> None:
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "lanpost", "user", "add", "anna", "--config", str(file)]
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, env=with_source()
    ) as child:
        os.close(terminal)
        shown = b""
        for prompt in (b"Password: ", b"Repeat for confirmation: "):
            while prompt not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, b"correct horse\n")
        assert child.wait(30) == 0
    os.close(ours)
    assert b"horse" not in shown
    assert who(file, "anna", "correct horse")


def with_source() -> dict[str, str]:
    source = Path(lanpost_package.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": str(source), "PYTHONWARNINGS": "ignore"}
