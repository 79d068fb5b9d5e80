"""People's passwords."""

from __future__ import annotations

import unicodedata

import argon2
import pytest
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY
from hypothesis import given, settings
from hypothesis import strategies as st

from lanpost.errors import InvalidValue
from lanpost.service.passwords import Passwords, check_rules


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords(CHEAPEST)


def test_a_hash_knows_its_password_only(passwords: Passwords) -> None:
    kept = passwords.hash(" correct  horse ")
    assert kept.startswith("$argon2id$")
    assert passwords.verify(kept, " correct  horse ")
    assert not passwords.verify(kept, "correct horse")
    assert not passwords.verify(kept, " CORRECT  horse ")
    assert passwords.hash(" correct  horse ") != kept


def test_a_password_is_the_same_however_the_keyboard_composes_it(passwords: Passwords) -> None:
    kept = passwords.hash("brücke\u00a0sieben")
    assert passwords.verify(kept, unicodedata.normalize("NFD", "brücke sieben"))


@given(st.text(min_size=8, max_size=40))
@settings(max_examples=50, deadline=None)
def test_whatever_the_rules_let_pass_can_be_checked(password: str) -> None:
    passwords = Passwords(CHEAPEST)
    try:
        check_rules(password)
    except InvalidValue:
        return
    assert passwords.verify(passwords.hash(password), password)


@pytest.mark.parametrize(
    ("password", "why"),
    [("", "8 characters"), ("1234567", "8 characters"), ("x" * 256, "255 octets"), ("tab\there it is", "control")],
)
def test_what_may_not_be_a_password(passwords: Passwords, password: str, why: str) -> None:
    with pytest.raises(InvalidValue, match=why):
        passwords.hash(password)


@pytest.mark.parametrize("kept", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA", "$2b$12$abc", "\0"])
def test_what_is_no_hash_knows_no_password(passwords: Passwords, kept: str) -> None:
    assert not passwords.verify(kept, "correct horse")
    assert not passwords.verify(kept, "")


def test_nobody_is_checked_with_the_parameters_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = argon2.PasswordHasher.verify

    def watching(self: argon2.PasswordHasher, kept: str, password: bytes) -> bool:
        seen.append(kept)
        return real(self, kept, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", watching)
    assert not Passwords(CHEAPEST).verify("", "correct horse")
    (kept,) = seen
    assert argon2.extract_parameters(kept) == CHEAPEST
    assert argon2.extract_parameters(Passwords()._decoy) == RFC_9106_LOW_MEMORY


def test_a_hash_of_other_parameters_is_outdated(passwords: Passwords) -> None:
    kept = passwords.hash("correct horse")
    assert not passwords.is_outdated(kept)
    assert Passwords(RFC_9106_LOW_MEMORY).is_outdated(kept)
