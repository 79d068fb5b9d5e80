"""Mailboxes on disk: durable, bounded, one session each."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lanpost.errors import StoreBusy, StoreError, StoreFull
from lanpost.model.address import MailAddress
from lanpost.store import mailbox_usage
from lanpost.store.maildir import MaildirMailboxes

ANNA = MailAddress.parse("anna@office.lan")
MAIL = b"Subject: x\r\n\r\nfirst line\r\n.second\r\n"

Opener = Callable[..., MaildirMailboxes]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    made: list[MaildirMailboxes] = []

    def build(quota: int = 10**9, warning: int = 90, folder: Path | None = None) -> MaildirMailboxes:
        made.append(
            MaildirMailboxes(folder or tmp_path / "mailboxes", domain="office.lan", quota=quota, warning=warning)
        )
        return made[-1]

    yield build
    for mailboxes in made:
        mailboxes.close()


@pytest.fixture
def mailboxes(opened: Opener) -> MaildirMailboxes:
    mailboxes = opened()
    mailboxes.create(ANNA)
    return mailboxes


def put(mailboxes: MaildirMailboxes, content: bytes = MAIL, address: MailAddress = ANNA) -> None:
    mailboxes.deliver(address, [content]).result(30)


def texts(mailboxes: MaildirMailboxes) -> list[bytes]:
    session = mailboxes.open_session(ANNA)
    try:
        return [b"".join(session.chunks(index)) for index in range(len(session.sizes()))]
    finally:
        session.close()


def folder(mailboxes: MaildirMailboxes, address: MailAddress = ANNA) -> Path:
    return mailboxes._maildir(address)


def test_a_mail_comes_back_as_it_was_delivered(mailboxes: MaildirMailboxes) -> None:
    put(mailboxes)
    (file,) = (folder(mailboxes) / "new").iterdir()
    assert file.read_bytes() == MAIL.replace(b"\r\n", b"\n")
    assert file.name.endswith(f",S={file.stat().st_size},W={len(MAIL)}")
    assert texts(mailboxes) == [MAIL]
    assert mailboxes.held(ANNA) == (1, file.stat().st_size)


def test_mails_are_numbered_as_they_came(mailboxes: MaildirMailboxes) -> None:
    sent = [b"number %d\r\n" % number for number in range(30)]
    for content in sent:
        put(mailboxes, content)
    assert texts(mailboxes) == sent


def test_a_large_mail_is_read_in_bounded_chunks(mailboxes: MaildirMailboxes) -> None:
    content = [b"\r\n" * 50_000, b"x" * 300_000 + b"\r", b"\nend\r\n"]
    mailboxes.deliver(ANNA, content).result(30)
    session = mailboxes.open_session(ANNA)
    chunks = list(session.chunks(0))
    assert b"".join(chunks) == b"".join(content)
    assert max(map(len, chunks)) <= 64 * 1024
    assert session.sizes() == [len(b"".join(content))]


def test_postmaster_always_has_a_mailbox(opened: Opener) -> None:
    mailboxes = opened()
    assert mailboxes.has(MailAddress.parse("Postmaster@OFFICE.lan"))
    with pytest.raises(StoreError, match="always stays"):
        mailboxes.remove(MailAddress.parse("postmaster@office.lan"))


def test_a_mailbox_made_by_another_process_is_seen_at_once(opened: Opener) -> None:
    one, other = opened(), opened()
    assert not one.has(ANNA)
    assert other.create(ANNA)
    assert one.has(ANNA)
    assert not one.create(ANNA)
    put(one)
    assert texts(other) == [MAIL]


def test_having_a_mailbox_is_told_in_microseconds(mailboxes: MaildirMailboxes) -> None:
    unknown = MailAddress.parse("nobody@office.lan")
    started = time.perf_counter()
    for _ in range(1000):
        assert mailboxes.has(ANNA)
        assert not mailboxes.has(unknown)
    assert (time.perf_counter() - started) / 2000 < 0.0002


def test_nobody_without_a_mailbox_gets_mail(mailboxes: MaildirMailboxes) -> None:
    with pytest.raises(StoreError, match="no mailbox of nobody"):
        put(mailboxes, address=MailAddress.parse("nobody@office.lan"))
    with pytest.raises(StoreError, match="no mailbox of nobody"):
        mailboxes.open_session(MailAddress.parse("nobody@office.lan"))


def test_mail_of_a_removed_person_is_kept_and_comes_back(mailboxes: MaildirMailboxes) -> None:
    put(mailboxes)
    assert mailboxes.remove(ANNA)
    assert not mailboxes.has(ANNA)
    with pytest.raises(StoreError):
        put(mailboxes)
    assert not mailboxes.remove(ANNA)
    assert mailboxes.create(ANNA)
    assert texts(mailboxes) == [MAIL]


@pytest.mark.parametrize("aside_first", [False, True])
def test_mail_is_deleted_only_when_told(mailboxes: MaildirMailboxes, aside_first: bool) -> None:
    put(mailboxes)
    if aside_first:
        mailboxes.remove(ANNA)
    mailboxes.remove(ANNA, delete_mail=True)
    mailboxes.create(ANNA)
    assert texts(mailboxes) == []


def test_a_second_session_is_refused_until_the_first_closes(opened: Opener) -> None:
    one, other = opened(), opened()
    one.create(ANNA)
    session = one.open_session(ANNA)
    for mailboxes in (one, other):
        with pytest.raises(StoreBusy, match="another session"):
            mailboxes.open_session(ANNA)
    session.close()
    session.close()
    other.open_session(ANNA).close()


def test_only_delete_deletes(mailboxes: MaildirMailboxes) -> None:
    for number in range(3):
        put(mailboxes, b"%d\r\n" % number)
    session = mailboxes.open_session(ANNA)
    ids = list(session.unique_ids())
    session.delete([1])
    session.close()
    session = mailboxes.open_session(ANNA)
    assert list(session.unique_ids()) == [ids[0], ids[2]]
    assert b"".join(session.chunks(1)) == b"2\r\n"
    session.close()


def test_mails_that_arrive_during_a_session_wait_for_the_next(mailboxes: MaildirMailboxes) -> None:
    put(mailboxes)
    session = mailboxes.open_session(ANNA)
    put(mailboxes, b"later\r\n")
    assert len(session.sizes()) == len(session.unique_ids()) == 1
    session.close()
    assert texts(mailboxes) == [MAIL, b"later\r\n"]


def test_a_mail_is_found_where_another_program_moved_it(mailboxes: MaildirMailboxes) -> None:
    for number in range(3):
        put(mailboxes, b"%d\r\n" % number)
    maildir = folder(mailboxes)
    session = mailboxes.open_session(ANNA)
    ids = list(session.unique_ids())
    for file in sorted((maildir / "new").iterdir()):
        file.rename(maildir / "cur" / f"{file.name}:2,S")
    assert b"".join(session.chunks(1)) == b"1\r\n"
    session.delete([0])
    session.close()
    session = mailboxes.open_session(ANNA)
    assert list(session.unique_ids()) == ids[1:]
    session.close()


def test_a_mail_that_another_program_removed_says_so(mailboxes: MaildirMailboxes) -> None:
    put(mailboxes)
    session = mailboxes.open_session(ANNA)
    for file in (folder(mailboxes) / "new").iterdir():
        file.unlink()
    with pytest.raises(StoreError, match="another program has removed"):
        list(session.chunks(0))
    session.delete([0])
    session.close()


def test_files_of_other_programs_are_served_with_their_exact_size(mailboxes: MaildirMailboxes) -> None:
    maildir = folder(mailboxes)
    (maildir / "cur" / "1700000000.V1.other:2,S").write_bytes(b"a\nb\r\nc\n")
    (maildir / "new" / "name with spaces").write_bytes(b"no end")
    (maildir / "new" / ".hidden").write_bytes(b"not a mail")
    session = mailboxes.open_session(ANNA)
    assert [b"".join(session.chunks(index)) for index in range(2)] == [b"no end", b"a\r\nb\r\nc\r\n"]
    assert list(session.sizes()) == [6, 9]
    assert all(" " not in name for name in session.unique_ids())
    session.close()


def test_two_files_of_one_unique_name_have_two_ids(mailboxes: MaildirMailboxes) -> None:
    maildir = folder(mailboxes)
    for name in ("new/1.a", "cur/1.a:2,S"):
        (maildir / name).write_bytes(b"x\n")
    session = mailboxes.open_session(ANNA)
    assert len(set(session.unique_ids())) == 2
    session.close()


def test_a_full_mailbox_refuses_until_something_is_deleted(opened: Opener) -> None:
    mailboxes = opened(quota=1000, warning=100)
    mailboxes.create(ANNA)
    put(mailboxes, b"x" * 600)
    with pytest.raises(StoreFull, match="mailbox full"):
        put(mailboxes, b"y" * 600)
    assert list((folder(mailboxes) / "tmp").iterdir()) == []
    put(mailboxes, b"z" * 400)
    with pytest.raises(StoreFull, match="mailbox full: it holds 1000 of 1000 octets"):
        put(mailboxes, b"")
    session = mailboxes.open_session(ANNA)
    session.delete([0])
    session.close()
    put(mailboxes, b"y" * 600)


def test_what_another_process_deleted_makes_room(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_usage, "FRESH_WHEN_FULL_SECONDS", 0.0)
    one, other = opened(quota=1000, warning=100), opened(quota=1000, warning=100)
    one.create(ANNA)
    put(one, b"x" * 900)
    session = other.open_session(ANNA)
    session.delete([0])
    session.close()
    put(one, b"y" * 900)


def test_the_owner_is_warned_once_and_again_after_tidying_up(opened: Opener) -> None:
    mailboxes = opened(quota=1000, warning=50)
    mailboxes.create(ANNA)
    put(mailboxes, b"x" * 400)
    assert len(texts(mailboxes)) == 1
    put(mailboxes, b"x" * 200)
    put(mailboxes, b"x" * 1)
    warnings = [text for text in texts(mailboxes) if b"Subject: Your mailbox is 60 % full" in text]
    assert len(warnings) == 1
    assert len(texts(mailboxes)) == 4

    session = mailboxes.open_session(ANNA)
    session.delete(range(4))
    session.close()
    put(mailboxes, b"x" * 100)
    put(mailboxes, b"x" * 500)
    assert sum(b"Your mailbox is" in text for text in texts(mailboxes)) == 1


def test_a_delivery_that_died_is_swept_after_a_day_and_a_half(mailboxes: MaildirMailboxes) -> None:
    tmp = folder(mailboxes) / "tmp"
    (tmp / "old").write_bytes(b"half")
    (tmp / "recent").write_bytes(b"half")
    for name, hours in (("old", 37), ("recent", 35)):
        os.utime(tmp / name, times=(time.time() - hours * 3600,) * 2)
    put(mailboxes)
    assert [file.name for file in tmp.iterdir()] == ["recent"]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StoreFull), (errno.EIO, StoreError)])
def test_a_failing_disk_leaves_nothing_and_the_next_mail_goes_through(
    mailboxes: MaildirMailboxes, monkeypatch: pytest.MonkeyPatch, call: str, number: int, kind: type[StoreError]
) -> None:
    put(mailboxes, b"before\r\n")

    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreError) as caught:
            put(mailboxes, b"lost\r\n")
    assert type(caught.value) is kind
    assert list((folder(mailboxes) / "tmp").iterdir()) == []
    put(mailboxes, b"after\r\n")
    assert texts(mailboxes) == [b"before\r\n", b"after\r\n"]


def test_a_folder_that_cannot_be_synced_means_not_delivered(
    mailboxes: MaildirMailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(mailboxes._syncs, "sync", fail)
        with pytest.raises(StoreError):
            put(mailboxes)
    assert texts(mailboxes) == []


def test_file_then_name_then_folder_and_only_then_done(
    mailboxes: MaildirMailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(handle: int) -> None:
        real_fsync(handle)
        place = Path(f"/proc/self/fd/{handle}").readlink()
        steps.append(f"fsync {place.name if place.name == 'new' else place.parent.name}")

    def rename(source: Path, target: Path) -> None:
        real_rename(source, target)
        steps.append("rename")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    future = mailboxes.deliver(ANNA, [MAIL])
    future.add_done_callback(lambda _: steps.append("done"))
    future.result(30)
    assert steps[:3] == ["fsync tmp", "rename", "fsync new"]
    assert steps[3:] in (["done"], [])


def test_content_that_breaks_off_is_not_delivered(mailboxes: MaildirMailboxes) -> None:
    def content() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the reader failed")

    with pytest.raises(RuntimeError):
        mailboxes.deliver(ANNA, content()).result(30)
    assert texts(mailboxes) == []
    assert list((folder(mailboxes) / "tmp").iterdir()) == []


def test_after_closing_a_delivery_fails_politely(mailboxes: MaildirMailboxes) -> None:
    mailboxes.close()
    mailboxes.close()
    with pytest.raises(StoreError, match="being closed"):
        put(mailboxes)


def test_a_folder_that_cannot_be_made_says_which(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="mailbox of postmaster"):
        opened(folder=tmp_path / "file" / "mailboxes")
