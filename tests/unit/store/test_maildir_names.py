"""File names in a Maildir."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.model.address import MailAddress
from lanpost.store.maildir_names import folder_name, fresh_unique, parse_name


def test_an_ordinary_address_keeps_its_name() -> None:
    assert folder_name("anna.b+x@office.lan") == "anna.b+x@office.lan"


@pytest.mark.parametrize(
    "address", ["../../etc/passwd@x", "a/b@x", '"."@x', '".."@x', "%removed@x", "jörg@büro.lan", "~root@x"]
)
def test_no_address_leaves_its_folder(address: str) -> None:
    try:
        key = MailAddress.parse(address).key
    except ValueError:
        key = address
    name = folder_name(key)
    assert "/" not in name
    assert not name.startswith(".")
    assert not re.match(r"%(removed|fresh)", name)


@given(st.text(min_size=1, max_size=320))
def test_any_key_gives_a_name_a_file_system_takes(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    assert re.fullmatch(r"[A-Za-z0-9@+=_%.-]{1,200}", folder_name(key))


@given(st.text("ab./%~@ü", min_size=1, max_size=300), st.text("ab./%~@ü", min_size=1, max_size=300))
def test_two_keys_never_share_a_folder(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)


def test_unique_parts_differ_fit_a_uidl_and_sort_as_they_came() -> None:
    names = [fresh_unique(1732392000.5) for _ in range(100)]
    assert len(set(names)) == 100
    mails = [parse_name("new", name) for name in names]
    assert all(re.fullmatch(r"[\x21-\x7e]{1,70}", mail.unique) and mail.unique_id == mail.unique for mail in mails)
    assert sorted(mails, key=lambda mail: mail.order) == mails
    assert parse_name("new", fresh_unique(1732392000.499)).order < mails[0].order


@pytest.mark.parametrize(
    ("name", "unique", "size", "wire"),
    [
        ("1.M2P3Q4.h,S=10,W=12", "1.M2P3Q4.h", 10, 12),
        ("1.M2P3Q4.h,S=10,W=12:2,RS", "1.M2P3Q4.h", 10, 12),
        ("1.2_3.h:2,", "1.2_3.h", None, None),
        ("1.h,S=x,W=:2,S=4", "1.h", None, None),
        ("strange", "strange", None, None),
    ],
)
def test_names_are_read_as_other_programs_write_them(
    name: str, unique: str, size: int | None, wire: int | None
) -> None:
    mail = parse_name("cur", name)
    assert (mail.unique, mail.size, mail.wire_size) == (unique, size, wire)
    assert mail.path == f"cur/{name}"


@given(st.binary(min_size=1, max_size=200).filter(lambda name: b"\0" not in name and b"/" not in name))
def test_any_file_name_has_a_lawful_unique_id(name: bytes) -> None:
    mail = parse_name("new", os.fsdecode(name))
    assert re.fullmatch(r"[\x21-\x7e]{1,70}", mail.unique_id)
    assert mail.unique_id == parse_name("cur", os.fsdecode(name.partition(b":")[0] + b":2,S")).unique_id
