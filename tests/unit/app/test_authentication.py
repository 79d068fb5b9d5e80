"""Logins of people and terminals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import argon2
import pytest
from argon2.profiles import CHEAPEST

from lanpost.app import authentication
from lanpost.app.authentication import Authenticator
from lanpost.errors import StoreBusy, StoreError
from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.service.credentials import new_secret, sha256_of
from lanpost.service.passwords import Passwords
from lanpost.store.accounts import SqliteAccounts

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANNA = MailAddress.parse("anna@office.lan")
FAX = MailAddress.parse("fax1@office.lan")


class Counting(Passwords):
    """Real passwords, counted."""

    def __init__(self, parameters: argon2.Parameters = CHEAPEST) -> None:
        super().__init__(parameters)
        self.checked = 0
        self.gate: threading.Event | None = None

    def verify(self, password_hash: str, password: str) -> bool:
        self.checked += 1
        if self.gate is not None:
            assert self.gate.wait(20)
        return super().verify(password_hash, password)


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[SqliteAccounts]:
    accounts = SqliteAccounts(tmp_path / "accounts.sqlite3")
    accounts.put_user(User(ANNA, Passwords(CHEAPEST).hash("correct horse"), NOW))
    yield accounts
    accounts.close()


@pytest.fixture
def passwords() -> Counting:
    return Counting()


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def authenticator(accounts: SqliteAccounts, passwords: Counting, now: list[float]) -> Iterator[Authenticator]:
    authenticator = Authenticator(accounts, "office.lan", passwords=passwords, clock=lambda: now[0])
    yield authenticator
    authenticator.close()
    authenticator.close()


@pytest.mark.parametrize("login", ["anna@office.lan", "anna", "Anna@OFFICE.LAN"])
async def test_a_person_logs_in_by_address_or_name(authenticator: Authenticator, login: str) -> None:
    account = await authenticator.verify(login, "correct horse")
    assert isinstance(account, User)
    assert account.address == ANNA
    assert await authenticator.verify_user(login, "correct horse") == account


@pytest.mark.parametrize("login", ["anna", "nobody", "", "@", "a b", "anna@elsewhere.lan", "x" * 5000])
async def test_nobody_logs_in_with_a_wrong_password(authenticator: Authenticator, login: str) -> None:
    assert await authenticator.verify(login, "wrong horse") is None


async def test_someone_unknown_costs_the_same_work(authenticator: Authenticator, passwords: Counting) -> None:
    await authenticator.verify("nobody", "wrong horse")
    assert passwords.checked == 1


async def test_a_user_without_a_password_cannot_log_in(
    authenticator: Authenticator, accounts: SqliteAccounts
) -> None:
    accounts.put_user(User(ANNA, "", NOW))
    assert await authenticator.verify("anna", "") is None
    assert await authenticator.verify("anna", "correct horse") is None


async def test_a_terminal_logs_in_by_its_secret_without_argon2(
    authenticator: Authenticator, accounts: SqliteAccounts, passwords: Counting
) -> None:
    secret = new_secret(FAX)
    terminal = Terminal(FAX, sha256_of(secret), NOW)
    accounts.put_terminal(terminal)
    assert await authenticator.verify("fax1", secret) == terminal
    assert await authenticator.verify("fax1", secret + "x") is None
    assert await authenticator.verify_user("fax1", secret) is None
    assert passwords.checked == 0


async def test_a_right_password_is_remembered_for_a_while(
    authenticator: Authenticator, passwords: Counting, now: list[float]
) -> None:
    for _ in range(5):
        assert await authenticator.verify("anna", "correct horse")
    assert passwords.checked == 1
    now[0] += authentication.REMEMBERED_SECONDS
    assert await authenticator.verify("anna", "correct horse")
    assert passwords.checked == 2


async def test_wrong_passwords_are_never_remembered(authenticator: Authenticator, passwords: Counting) -> None:
    for _ in range(3):
        assert await authenticator.verify("anna", "wrong horse") is None
    assert passwords.checked == 3


async def test_a_changed_password_and_a_removed_user_are_known_at_once(
    authenticator: Authenticator, accounts: SqliteAccounts, passwords: Counting
) -> None:
    assert await authenticator.verify("anna", "correct horse")
    accounts.put_user(User(ANNA, passwords.hash("another horse"), NOW))
    assert await authenticator.verify("anna", "correct horse") is None
    assert await authenticator.verify("anna", "another horse")
    accounts.remove_user(ANNA)
    assert await authenticator.verify("anna", "another horse") is None


async def test_what_is_remembered_is_bounded_and_is_no_password(
    authenticator: Authenticator, accounts: SqliteAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MAX_REMEMBERED", 3)
    for number in range(6):
        address = MailAddress.parse(f"user{number}@office.lan")
        accounts.put_user(User(address, Passwords(CHEAPEST).hash("correct horse"), NOW))
        assert await authenticator.verify(str(address), "correct horse")
    assert len(authenticator._remembered) == 3
    assert all(len(mark) == 32 for mark in authenticator._remembered)


async def test_a_hash_of_former_parameters_is_made_anew(accounts: SqliteAccounts) -> None:
    stronger = Passwords(argon2.Parameters(argon2.Type.ID, 19, 16, 32, 2, 16, 1))
    authenticator = Authenticator(accounts, "office.lan", passwords=stronger)
    before = accounts.user(ANNA)
    assert await authenticator.verify("anna", "correct horse")
    after = accounts.user(ANNA)
    assert before is not None
    assert after is not None
    assert after == replace(before, password_hash=after.password_hash)
    assert argon2.extract_parameters(after.password_hash).time_cost == 2
    assert await authenticator.verify("anna", "correct horse")
    authenticator.close()


async def test_few_are_checked_at_once_and_few_wait(
    authenticator: Authenticator, passwords: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MAX_WAITING", 5)
    passwords.gate = threading.Event()
    logins = [asyncio.create_task(authenticator.verify("anna", "wrong horse")) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(StoreBusy):
        await authenticator.verify("anna", "wrong horse")
    assert (await authenticator.reply("anna", "wrong horse")).code == 454
    assert passwords.checked <= authentication.AT_ONCE
    passwords.gate.set()
    assert await asyncio.gather(*logins) == [None] * 5
    assert await authenticator.verify("anna", "correct horse")


async def test_the_answers_that_smtp_gives(authenticator: Authenticator, accounts: SqliteAccounts) -> None:
    assert (await authenticator.reply("anna", "correct horse")).code == 235
    assert str(await authenticator.reply("anna", "wrong horse")).startswith("535 5.7.8 ")
    accounts.close()
    assert str(await authenticator.reply("anna", "correct horse")).startswith("454 4.7.0 ")
    with pytest.raises(StoreError):
        await authenticator.verify("anna", "correct horse")
