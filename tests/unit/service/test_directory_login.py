"""Who may be somebody in the directory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.directory_running import ADMIN, BASE, PASSWORD, SECRET, SUFFIX, Directory

from lanpost.errors import DirectoryRefused
from lanpost.service.credentials import sha256_of
from lanpost.service.directory_login import ANYBODY, DirectoryLogin, Identity
from lanpost.wire.ldap_messages import ResultCode


@pytest.fixture
def directory() -> Directory:
    directory = Directory()
    directory.enrol("fax1")
    return directory


def code_of(directory: Directory, name: str, password: bytes) -> int:
    with pytest.raises(DirectoryRefused) as refusal:
        directory.login.simple(name, password)
    return int(refusal.value.code)


def test_nobody_in_particular_is_anybody(directory: Directory) -> None:
    assert directory.login.simple("", b"") == ANYBODY
    assert ANYBODY.is_anybody
    assert directory.login.still(ANYBODY)


@pytest.mark.parametrize("name", [ADMIN, ADMIN.upper(), "CN = admin , dc=Office,dc=lan", "2.5.4.3=admin," + SUFFIX])
def test_the_administrator_has_any_of_his_secrets(directory: Directory, name: str) -> None:
    assert directory.login.simple(name, PASSWORD) == Identity(ADMIN, is_administrator=True)
    two = DirectoryLogin(directory.tree, directory.accounts, (sha256_of("one"), sha256_of("two")))
    assert two.simple(name, b"one").is_administrator
    assert two.simple(name, b"two").is_administrator
    for wrong in (b"three", b"onetwo", b" one", b"ONE", b"\xff"):
        with pytest.raises(DirectoryRefused):
            two.simple(name, wrong)


def test_without_any_secret_there_is_no_administrator(directory: Directory) -> None:
    none = DirectoryLogin(directory.tree, directory.accounts, ())
    with pytest.raises(DirectoryRefused) as refusal:
        none.simple(ADMIN, PASSWORD)
    assert refusal.value.code == ResultCode.INVALID_CREDENTIALS


@pytest.mark.parametrize(
    "name", [f"cn=fax1,{BASE}", f"CN=FAX1,{BASE}", f"cn=fax1@office.lan,{BASE}", f"mail=fax1@office.lan,{BASE}"]
)
def test_a_terminal_has_its_own_secret_by_any_of_its_names(directory: Directory, name: str) -> None:
    identity = directory.login.simple(name, SECRET.encode())
    assert identity.name == f"cn=fax1,{BASE}"
    assert identity.terminal is not None
    assert not identity.is_administrator
    assert not identity.is_anybody
    assert code_of(directory, name, PASSWORD) == ResultCode.INVALID_CREDENTIALS


@pytest.mark.parametrize(
    ("name", "password", "code"),
    [
        (ADMIN, SECRET.encode(), ResultCode.INVALID_CREDENTIALS),
        (f"cn=fax2,{BASE}", SECRET.encode(), ResultCode.INVALID_CREDENTIALS),
        (f"cn=admin,{BASE}", PASSWORD, ResultCode.INVALID_CREDENTIALS),  # a terminal of that name
        (BASE, SECRET.encode(), ResultCode.INVALID_CREDENTIALS),
        ("", PASSWORD, ResultCode.INVALID_CREDENTIALS),
        ("dc=else", PASSWORD, ResultCode.INVALID_CREDENTIALS),
        (f"cn=fax1,{BASE}", b"", ResultCode.UNWILLING_TO_PERFORM),  # RFC 4513 §5.1.2
        ("no name", b"", ResultCode.UNWILLING_TO_PERFORM),
        ("no name", b"x", ResultCode.INVALID_DN_SYNTAX),
    ],
)
def test_names_and_passwords_that_do_not_fit(
    directory: Directory, name: str, password: bytes, code: ResultCode
) -> None:
    assert code_of(directory, name, password) == code


def test_unknown_names_and_wrong_passwords_are_told_apart_by_nothing(directory: Directory) -> None:
    told = set()
    for name in (ADMIN, f"cn=fax1,{BASE}", f"cn=nobody,{BASE}", f"cn=else,{SUFFIX}"):
        with pytest.raises(DirectoryRefused) as refusal:
            directory.login.simple(name, b"wrong")
        told.add((refusal.value.code, str(refusal.value), refusal.value.matched))
    assert len(told) == 1


@given(st.text(max_size=30) | st.just(f"cn=fax1,{BASE}"), st.binary(max_size=20))
def test_no_guess_makes_anybody_somebody(name: str, password: bytes) -> None:
    directory = Directory()
    directory.enrol("fax1")
    try:
        assert directory.login.simple(name, password) == ANYBODY
    except DirectoryRefused:
        return
    assert (name, password) == ("", b"")


def test_a_certificate_names_a_terminal(directory: Directory) -> None:
    for told in ("fax1@office.lan", "FAX1@Office.lan", "fax1"):
        assert directory.login.certificate(told).name == f"cn=fax1,{BASE}"
    for told in ("fax2@office.lan", "fax1@else.where", "", "directory server", "\0"):
        with pytest.raises(DirectoryRefused) as refusal:
            directory.login.certificate(told)
        assert refusal.value.code == ResultCode.INVALID_CREDENTIALS


def test_it_is_over_once_the_terminal_is_removed_or_has_another_secret(directory: Directory) -> None:
    identity = directory.login.certificate("fax1")
    assert directory.login.still(identity)
    directory.enrol("fax1", "another")
    assert not directory.login.still(identity)
    identity = directory.login.certificate("fax1")
    directory.accounts.remove_terminal(identity.terminal.address)  # type: ignore[union-attr]
    assert not directory.login.still(identity)
