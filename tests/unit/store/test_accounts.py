from __future__ import annotations

import multiprocessing
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lanpost.errors import StoreError
from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.model.device import Device
from lanpost.service.ports import Accounts
from lanpost.store.accounts import SCHEMA, SqliteAccounts
from lanpost.store.sqlite import Schema, open_database

NOW = datetime(2026, 11, 23, 20, 15, 0, 123456, tzinfo=UTC)


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def terminal(name: str, secret: bytes = b"\x00\xff" * 16, *, speaks_for_others: bool = False) -> Terminal:
    return Terminal(named(name), secret, NOW, speaks_for_others)


def user(name: str, password_hash: str = "$argon2id$v=19$...") -> User:
    return User(named(name), password_hash, NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.sqlite3"


@pytest.fixture
def accounts(file: Path) -> Iterator[Accounts]:
    accounts = SqliteAccounts(file)
    yield accounts
    accounts.close()
    accounts.close()


@pytest.mark.parametrize("speaks_for_others", [False, True])
def test_a_terminal_comes_back_as_it_was_put(accounts: Accounts, speaks_for_others: bool) -> None:
    put = terminal("Büro@office.lan", speaks_for_others=speaks_for_others)
    accounts.put_terminal(put)
    assert accounts.terminal(named("BU\u0308RO@Office.lan")) == put
    assert [str(found.address) for found in accounts.terminals()] == ["Büro@office.lan"]
    assert accounts.user(put.address) is None


def test_a_user_comes_back_as_he_was_put(accounts: Accounts) -> None:
    accounts.put_user(user("anna"))
    assert accounts.user(named("ANNA@office.lan")) == user("anna")
    assert accounts.terminal(named("anna")) is None


def test_the_one_put_last_is_in_force(accounts: Accounts) -> None:
    accounts.put_terminal(terminal("fax1", speaks_for_others=True))
    accounts.put_terminal(terminal("FAX1", b"other"))
    assert list(accounts.terminals()) == [terminal("fax1", b"other")]
    accounts.put_user(user("anna"))
    accounts.put_user(user("Anna", ""))
    assert list(accounts.users()) == [user("anna", "")]


def test_removing_tells_whether_there_was_one(accounts: Accounts) -> None:
    accounts.put_terminal(terminal("fax1"))
    accounts.put_user(user("anna"))
    assert accounts.remove_terminal(named("Fax1")) is True
    assert accounts.remove_terminal(named("fax1")) is False
    assert accounts.remove_user(named("Anna")) is True
    assert accounts.remove_user(named("anna")) is False
    assert list(accounts.terminals()) == []
    assert list(accounts.users()) == []


def test_they_are_told_in_order(accounts: Accounts) -> None:
    for name in ("c", "A", "b"):
        accounts.put_terminal(terminal(name))
        accounts.put_user(user(name))
    assert [found.address.key[0] for found in accounts.terminals()] == ["a", "b", "c"]
    assert accounts.terminal_count() == 3
    assert [found.address.key[0] for found in accounts.users()] == ["a", "b", "c"]


def test_who_asks_does_not_wait_for_what_another_thread_writes(file: Path) -> None:
    accounts = SqliteAccounts(file)
    accounts.put_terminal(terminal("fax1"))
    other = SqliteAccounts(file)
    other._writer.execute("BEGIN IMMEDIATE")  # until it ends, what is written here waits
    writing = threading.Thread(target=accounts.put_terminal, args=(terminal("fax2"),))
    writing.start()
    while not accounts._writing.locked():
        pass
    assert accounts.terminal(named("fax1")) == terminal("fax1")
    assert writing.is_alive()
    other._writer.execute("COMMIT")
    other.close()
    writing.join()
    assert accounts.terminal(named("fax2")) == terminal("fax2")
    accounts.close()


def test_only_the_owner_can_read_the_file(accounts: Accounts, file: Path) -> None:
    accounts.put_user(user("anna"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.glob("accounts*")} == {0o600}


def put_many(file: Path, prefix: str) -> None:
    accounts = SqliteAccounts(file)
    for number in range(50):
        accounts.put_terminal(terminal(f"{prefix}{number}"))
        accounts.put_user(user("shared", prefix))
    accounts.close()


def test_processes_that_all_write_lose_nothing(accounts: Accounts, file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=put_many, args=(file, prefix)) for prefix in "ab"]
    for process in processes:
        process.start()
    put_many(file, "c")
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(list(accounts.terminals())) == 150
    assert [found.password_hash in "abc" for found in accounts.users()] == [True]


SCANNER = Device("00:11:22:33:44:55", "01001122334455", "scanner")


def known_as(name: str, device: Device) -> Terminal:
    return replace(terminal(name), device=device, learn=True, port=2525)


def test_a_terminal_is_found_by_its_machine_the_surest_name_first(accounts: Accounts) -> None:
    scanner = known_as("scanner", SCANNER)
    printer = known_as("printer", Device("00:11:22:33:44:66", hostname="printer"))
    for each in (scanner, printer, terminal("fax1"), terminal("fax2")):
        accounts.put_terminal(each)
    assert accounts.terminal(scanner.address) == scanner
    assert accounts.terminal_of(Device(mac=SCANNER.mac)) == scanner
    assert accounts.terminal_of(Device(client_id=SCANNER.client_id, hostname="printer")) == scanner
    assert accounts.terminal_of(Device("00:11:22:33:44:77", hostname="printer")) == printer
    assert accounts.terminal_of(Device("00:11:22:33:44:77", "02", "other")) is None
    assert accounts.terminal_of(Device()) is None


def test_one_machine_is_not_two_terminals_and_neither_is_lost(accounts: Accounts) -> None:
    accounts.put_terminal(known_as("scanner", SCANNER))
    accounts.put_terminal(terminal("fax1"))
    with pytest.raises(StoreError):
        accounts.put_terminal(known_as("fax1", Device(mac=SCANNER.mac)))
    assert [found.address.local for found in accounts.terminals()] == ["fax1", "scanner"]


def test_a_file_of_the_first_version_keeps_its_terminals(file: Path) -> None:
    old = Schema(SCHEMA.what, SCHEMA.application_id, SCHEMA.steps[:1])
    database = open_database(file, old)
    database.execute("INSERT INTO terminal VALUES ('fax1@office.lan', 'fax1', 'office.lan', x'00', 0, 1)")
    database.close()
    accounts = SqliteAccounts(file)
    (found,) = accounts.terminals()
    accounts.close()
    assert (str(found.address), found.speaks_for_others, found.device, found.learn, found.port) == (
        "fax1@office.lan",
        True,
        Device(),
        False,
        25,
    )


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "accounts.sqlite3").write_text("x" * 5000)
    with pytest.raises(StoreError, match=r"accounts\.sqlite3"):
        SqliteAccounts(tmp_path / "accounts.sqlite3")


def test_a_closed_file_raises_our_error(accounts: SqliteAccounts) -> None:
    accounts.close()
    with pytest.raises(StoreError):
        accounts.user(named("anna"))
    with pytest.raises(StoreError):
        accounts.put_user(user("anna"))


def test_a_former_address_leads_to_the_terminal_through_several_renamings(accounts: Accounts) -> None:
    accounts.put_terminal(terminal("fax1"))
    assert accounts.rename_terminal(named("fax1"), terminal("fax2"))
    assert accounts.rename_terminal(named("fax2"), terminal("fax3"))
    assert [accounts.renamed(named(name)) for name in ("fax1", "fax2")] == [terminal("fax3")] * 2
    assert [str(each.address) for each in accounts.terminals()] == ["fax3@office.lan"]
    assert accounts.renamed(named("fax3")) is None
    assert not accounts.rename_terminal(named("fax1"), terminal("fax4"))


def test_a_former_address_that_is_given_anew_or_whose_terminal_is_gone_leads_nowhere(accounts: Accounts) -> None:
    accounts.put_terminal(terminal("fax1"))
    accounts.rename_terminal(named("fax1"), terminal("fax2"))
    accounts.put_terminal(terminal("fax1", b"x" * 32))
    assert accounts.renamed(named("fax1")) is None
    accounts.rename_terminal(named("fax2"), terminal("fax3"))
    accounts.remove_terminal(named("fax3"))
    assert accounts.renamed(named("fax2")) is None


def test_a_terminal_renamed_back_has_its_own_name(accounts: Accounts) -> None:
    accounts.put_terminal(terminal("fax1"))
    accounts.rename_terminal(named("fax1"), terminal("fax2"))
    accounts.rename_terminal(named("fax2"), terminal("fax1"))
    assert accounts.terminal(named("fax1")) == terminal("fax1")
    assert accounts.renamed(named("fax1")) is None
    assert accounts.renamed(named("fax2")) == terminal("fax1")
