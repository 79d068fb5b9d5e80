"""Mail received into one Maildir, chunk by chunk."""

from __future__ import annotations

import mailbox
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanpost.errors import StoreError
from lanpost.store import maildir_drop
from lanpost.store.maildir_drop import HELD_OCTETS, IncomingMail, MaildirDrop


def receive(mail: IncomingMail, *chunks: bytes) -> None:
    for chunk in chunks:
        if waits := mail.write(chunk):
            waits.result(10)


def stored(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in (folder / "new").iterdir()]


def test_a_mail_is_there_whole_with_its_trace_when_it_is_reported_done(tmp_path: Path) -> None:
    drop = MaildirDrop(tmp_path / "mail")
    mail = drop.receive()
    receive(mail, b"Subject: a\r\n\r", b"\n..dot\r\n")
    mail.finish(b"Return-Path: <>\r\n").result(10)
    assert stored(drop.folder) == [b"Return-Path: <>\nSubject: a\n\n.dot\n"]
    (file,) = (drop.folder / "new").iterdir()
    assert f",S={file.stat().st_size},W=" in file.name
    (read,) = mailbox.Maildir(drop.folder, factory=None)
    assert read["Subject"] == "a"
    assert list((drop.folder / "tmp").iterdir()) == []
    drop.close()


def test_large_mail_waits_on_disk_and_comes_out_in_order(tmp_path: Path) -> None:
    drop = MaildirDrop(tmp_path)
    lines = [b"%07d\r\n" % number for number in range(HELD_OCTETS // 2)]
    chunks = [b"".join(lines[at : at + 5000]) for at in range(0, len(lines), 5000)]
    mail = drop.receive()
    futures = [mail.write(chunk) for chunk in chunks]  # without waiting, as a careless caller might
    assert sum(future is not None for future in futures) >= 3
    assert mail._held_octets < HELD_OCTETS
    mail.finish(b"").result(10)
    assert stored(tmp_path) == [b"".join(lines).replace(b"\r\n", b"\n")]
    drop.close()


def test_of_a_mail_that_never_ends_nothing_is_left(tmp_path: Path) -> None:
    drop = MaildirDrop(tmp_path)
    mail = drop.receive()
    receive(mail, b"x" * HELD_OCTETS)
    mail.discard()
    mail.discard()
    drop.close()
    assert stored(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    with pytest.raises(StoreError):
        drop.receive().finish(b"").result(10)


def test_a_failure_of_the_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    drop = MaildirDrop(tmp_path)
    mail = drop.receive()
    receive(mail, b"Subject: a\r\n\r\n")
    monkeypatch.setattr(maildir_drop, "sync_folder", full)
    with pytest.raises(StoreError, match="full"):
        mail.finish(b"").result(10)
    assert stored(tmp_path) == []
    drop.close()


def test_what_a_power_cut_left_half_written_is_swept_at_a_later_start(tmp_path: Path) -> None:
    MaildirDrop(tmp_path).close()
    old, young = tmp_path / "tmp" / "old", tmp_path / "tmp" / "young"
    for file in (old, young):
        file.touch()
    os.utime(old, (0, 0))
    MaildirDrop(tmp_path).close()
    assert [file.name for file in (tmp_path / "tmp").iterdir()] == ["young"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("")
    with pytest.raises(StoreError):
        MaildirDrop(tmp_path / "mail")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([b"\r\n", b".", b"..", b"x", b"\r", b"\n"])), st.integers(1, 6))
def test_how_the_content_was_cut_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], held: int
) -> None:
    text = b"".join(parts) + b"\r\n"
    results = []
    for step in (1, len(text)):
        folder = tmp_path_factory.mktemp("drop")
        drop = MaildirDrop(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(maildir_drop, "HELD_OCTETS", held if step == 1 else 10**6)
            mail = drop.receive()
            receive(mail, *(text[at : at + step] for at in range(0, len(text), step)))
            mail.finish(b"").result(10)
        drop.close()
        results.append(stored(folder))
    assert results[0] == results[1]
