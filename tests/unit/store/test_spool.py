"""The spool: what was promised is there after any crash, any torn write, any full disk."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests import spool_child
from tests.spool_child import content_of, mail_of

from lanpost.errors import StoreBusy, StoreError, StoreFull
from lanpost.model.queued import QueuedMail, Waiting
from lanpost.store import journal, queued_json, spool_folder
from lanpost.store import spool as store_spool
from lanpost.store.spool import JournalSpool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "0"


@pytest.fixture
def spool(folder: Path) -> Iterator[JournalSpool]:
    opened = JournalSpool(folder)
    yield opened
    opened.close()


def put(spool: JournalSpool, *ids: str) -> None:
    for future in [spool.put(mail_of(mail_id), [content_of(mail_id)]) for mail_id in ids]:
        future.result(10)


def read(spool: JournalSpool, mail_id: str) -> bytes:
    return b"".join(spool.content(mail_id).result(10))


def held(spool: JournalSpool) -> dict[str, bytes]:
    return {mail.id: read(spool, mail.id) for mail in spool.mails()}


def reopened(folder: Path) -> dict[str, bytes]:
    spool = JournalSpool(folder)
    try:
        return held(spool)
    finally:
        spool.close()


def expected(*ids: str) -> dict[str, bytes]:
    return {mail_id: content_of(mail_id) for mail_id in ids}


def test_a_mail_comes_back_as_it_was_put(spool: JournalSpool, folder: Path) -> None:
    put(spool, "m1")
    assert spool.get("m1") == mail_of("m1")
    spool.close()
    again = JournalSpool(folder)
    assert list(again.mails()) == [mail_of("m1")]
    assert read(again, "m1") == content_of("m1")
    again.close()


def test_updates_and_removals_last(spool: JournalSpool, folder: Path) -> None:
    put(spool, "m1", "m2", "m3")
    who = replace(
        mail_of("m1").recipients[0],
        waiting=Waiting.HELD,
        attempts=3,
        next_due=5.5,
        last_reply="451 4.4.1 später",
        delay_told=True,
    )
    changed = replace(mail_of("m1"), frozen=True, recipients=(who,))
    spool.update(changed)
    spool.remove("m2")
    spool.remove("never there")
    assert spool.get("m2") is None
    spool.close()
    again = JournalSpool(folder)
    assert [mail.id for mail in again.mails()] == ["m1", "m3"]
    assert again.get("m1") == changed
    again.close()


def test_mails_are_told_oldest_first(spool: JournalSpool) -> None:
    for mail_id, arrived in (("late", 30.0), ("early", 10.0), ("middle", 20.0)):
        spool.put(replace(mail_of(mail_id), arrived=arrived), [b"x\r\n"]).result(10)
    assert [mail.id for mail in spool.mails()] == ["early", "middle", "late"]


def test_unknown_content_is_a_key_error(spool: JournalSpool) -> None:
    with pytest.raises(KeyError):
        spool.content("m1")


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_content_of_any_size_is_read_in_bounded_chunks(spool: JournalSpool, size: int) -> None:
    text = random.Random(size).randbytes(size)
    chunks = [memoryview(text)[place : place + 4096] for place in range(0, size, 4096)]
    spool.put(mail_of("m1"), chunks).result(10)  # type: ignore[arg-type]
    found = list(spool.content("m1").result(10))
    assert b"".join(found) == text
    assert all(0 < len(chunk) <= 65_536 for chunk in found)


def test_content_being_read_survives_the_mails_removal(
    spool: JournalSpool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_folder, "SEGMENT_OCTETS", 1000)
    monkeypatch.setattr(spool_folder, "TIDY_SECONDS", 0.0)
    text = random.Random(1).randbytes(2_000_000)
    spool.put(mail_of("m1"), [text]).result(10)
    chunks = spool.content("m1").result(10)
    first = next(chunks)
    spool.remove("m1")
    put(spool, "m2", "m3")
    put(spool, "m4")
    put(spool, "m5")
    assert len(list(folder.glob("*.seg"))) < 4
    assert first + b"".join(chunks) == text


def test_many_puts_share_a_sync(spool: JournalSpool) -> None:
    put(spool, *(f"m{number}" for number in range(500)))
    assert spool.commits < 250


def test_an_empty_spool_leaves_no_segments(spool: JournalSpool, folder: Path) -> None:
    put(spool, "m1")
    spool.remove("m1")
    spool.close()
    assert not list(folder.glob("*.seg"))


def test_one_process_at_a_time(spool: JournalSpool, folder: Path) -> None:
    with pytest.raises(StoreBusy, match=f"process {os.getpid()}"):
        JournalSpool(folder)


def test_closed_spool_takes_nothing(spool: JournalSpool) -> None:
    spool.close()
    with pytest.raises(StoreError, match="closed"):
        spool.put(mail_of("m1"), [b""]).result(10)


# Room and failing disks.


def test_the_free_space_kept_back_stays_free(folder: Path) -> None:
    spool = JournalSpool(folder, free_disk=1 << 60)
    assert not spool.room()
    with pytest.raises(StoreFull, match="free"):
        put(spool, "m1")
    spool.close()


def test_a_bug_refuses_its_mails_and_the_spool_lives_on(
    spool: JournalSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(spool, "before")
    with monkeypatch.context() as broken:
        broken.setattr(queued_json, "dump_mail", lambda mail: 1 // 0)
        with pytest.raises(StoreError, match="internal error"):
            put(spool, "failed")
    spool.remove("before")
    put(spool, "after")
    assert held(spool) == expected("after")


def test_a_bug_while_nothing_is_written_ends_the_spool_no_more_than_any_other(
    spool: JournalSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_spool, "SYNC_DELAY", 0.01)
    met = threading.Event()

    def fail() -> None:
        met.set()
        raise ZeroDivisionError

    put(spool, "before")
    with monkeypatch.context() as broken:
        broken.setattr(spool._folder, "sync", fail)
        spool.update(spool.get("before") or mail_of("before"))
        assert met.wait(10)
    put(spool, "after")
    assert held(spool) == expected("before", "after")


def test_a_disk_that_cannot_be_looked_at_takes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = JournalSpool(folder)
    with monkeypatch.context() as broken:
        broken.setattr(os, "statvfs", _fail_sync)
        assert not spool.room()
        with pytest.raises(StoreFull):
            put(spool, "failed")
    spool.close()


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StoreFull), (errno.EIO, StoreError)])
def test_a_failing_write_refuses_its_mails_and_no_others(
    spool: JournalSpool, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreError]
) -> None:
    put(spool, "before")
    real = os.pwritev

    def half(handle: int, buffers: Sequence[bytes], offset: int) -> int:
        if offset > 5000:
            raise OSError(number, os.strerror(number))
        return real(handle, [b"".join(buffers)[:700]], offset)

    monkeypatch.setattr(os, "pwritev", half)
    with pytest.raises(kind):
        spool.put(mail_of("failed"), [b"x" * 20_000]).result(10)
    spool.remove("before")  # cannot be written now, and must not be forgotten
    with pytest.raises(kind):
        spool.put(mail_of("failed2"), [b"x" * 20_000]).result(10)
    monkeypatch.setattr(os, "pwritev", real)
    put(spool, "after")
    assert held(spool) == expected("after")
    spool.close()
    assert reopened(folder) == expected("after")


def test_a_failing_sync_refuses_its_mails(
    spool: JournalSpool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(spool, "before")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", _fail_sync)
        with pytest.raises(StoreError):
            put(spool, "failed")
    put(spool, "after")
    spool.close()
    assert reopened(folder) == expected("before", "after")


def _fail_sync(handle: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


# Crashes and damage.


def journal_of(folder: Path, *ids: str) -> bytes:
    """The octets of a segment with these mails, put one after another."""
    spool = JournalSpool(folder)
    for mail_id in ids:
        put(spool, mail_id)
    spool.close()
    (path,) = folder.glob("*.seg")
    return path.read_bytes()


def test_a_journal_cut_at_any_octet_keeps_what_was_whole(tmp_path: Path) -> None:
    data = journal_of(tmp_path / "whole", "a", "b", "c")
    mark = journal.read_mark(data, "test")
    assert mark
    starts = [place for place in range(len(data)) if data.startswith(mark, place)][1:]
    ends = [*starts[1:], len(data)]
    near = {place + shift for place in (0, journal.SEGMENT_HEAD, *starts, *ends) for shift in range(-40, 41)}
    for cut in sorted({place for place in near if 0 <= place <= len(data)} | set(range(0, len(data), 997))):
        folder = tmp_path / "torn"
        folder.mkdir()
        (folder / "00000001.seg").write_bytes(data[:cut])
        whole = [mail_id for mail_id, end in zip("abc", ends, strict=True) if end <= cut]
        assert reopened(folder) == expected(*whole), f"cut at {cut}"
        assert not (folder / "damaged").exists(), f"cut at {cut}"
        shutil.rmtree(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 1 << 30) | st.integers(-2100, -1900), value=st.integers(1, 255))
@example(place=3893, value=1)  # the last record's length: as if its end had not been written
def test_one_changed_octet_costs_at_most_its_own_mail(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    data = bytearray(journal_of(folder, "a", "b", "c"))
    place = journal.SEGMENT_HEAD + place % (len(data) - journal.SEGMENT_HEAD)
    data[place] ^= value
    (folder / "00000001.seg").write_bytes(data)
    found = reopened(folder)
    assert len(found) == 2
    assert found.items() <= expected("a", "b", "c").items()
    assert list((folder / "damaged").iterdir())
    # The damage is told once: what was sound has been rewritten, or is found as before.
    assert reopened(folder) == found


def test_a_damaged_head_sets_the_segment_aside(folder: Path) -> None:
    data = journal_of(folder, "a")
    (folder / "00000001.seg").write_bytes(b"?" + data[1:])
    assert reopened(folder) == {}
    assert (folder / "damaged" / "00000001.seg").read_bytes()[1:] == data[1:]


def test_a_newer_format_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(journal, "FORMAT", 2)
        journal_of(folder, "a")
    with pytest.raises(StoreError, match="newer lanpost"):
        JournalSpool(folder)


def test_a_mails_content_cannot_pass_for_a_record(folder: Path) -> None:
    other = journal_of(folder.parent / "other", "forged")
    spool = JournalSpool(folder)
    spool.put(mail_of("real"), [other]).result(10)
    spool.close()
    (path,) = folder.glob("*.seg")
    data = bytearray(path.read_bytes())
    data[journal.SEGMENT_HEAD + 60] ^= 1  # now the search for the next record goes through the content
    path.write_bytes(data)
    assert reopened(folder) == {}


def test_content_damaged_on_disk_is_never_given_out(folder: Path) -> None:
    spool = JournalSpool(folder)
    put(spool, "a")
    (path,) = folder.glob("*.seg")
    with path.open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"?")
    with pytest.raises(StoreError, match="damaged"):
        read(spool, "a")
    spool.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("pppuurrro"), st.integers(0, 30)), max_size=60))
def test_any_history_is_remembered(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as small:
        small.setattr(spool_folder, "SEGMENT_OCTETS", 20_000)
        small.setattr(spool_folder, "TIDY_SECONDS", 0.0)
        spool = JournalSpool(folder)
        model: dict[str, QueuedMail] = {}
        for number, (what, which) in enumerate(history):
            some = list(model)[which % len(model)] if model else ""
            if what == "p":
                model[f"m{number}"] = mail_of(f"m{number}")
                put(spool, f"m{number}")
            elif what == "u" and some:
                model[some] = replace(model[some], frozen=not model[some].frozen)
                spool.update(model[some])
            elif what == "r" and some:
                del model[some]
                spool.remove(some)
            elif what == "o":
                spool.close()
                spool = JournalSpool(folder)
            assert {mail.id: mail for mail in spool.mails()} == model
        spool.close()
        spool = JournalSpool(folder)
        assert {mail.id: mail for mail in spool.mails()} == model
        assert held(spool) == expected(*model)
        spool.close()


def test_space_of_delivered_mail_is_given_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_folder, "SEGMENT_OCTETS", 20_000)
    monkeypatch.setattr(spool_folder, "TIDY_SECONDS", 0.0)
    spool = JournalSpool(folder)
    put(spool, "stays")
    for number in range(300):
        put(spool, f"m{number}")
        spool.remove(f"m{number}")
    put(spool, "last")
    assert held(spool) == expected("stays", "last")
    spool.close()  # now nobody removes a segment between its being listed and being looked at
    assert sum(path.stat().st_size for path in folder.glob("*.seg")) < 100_000
    assert reopened(folder) == expected("stays", "last")


def test_nothing_promised_is_lost_when_the_process_is_killed(folder: Path) -> None:
    promised: set[str] = set()
    may_be_gone: set[str] = set()
    chance = random.Random(7)
    for turn in range(8):
        command = [sys.executable, spool_child.__file__, str(folder), str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as child:
            assert child.stdout
            for _ in range(chance.randrange(50, 400)):
                _note(child.stdout.readline(), promised, may_be_gone)
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:
                _note(line, promised, may_be_gone)
        spool = JournalSpool(folder)
        found = held(spool)
        spool.close()
        assert promised - may_be_gone <= found.keys()
        assert found == expected(*found)
        may_be_gone -= found.keys()
        promised -= may_be_gone
    assert len(promised) > 20
    assert not (folder / "damaged").exists()


def _note(line: str, promised: set[str], may_be_gone: set[str]) -> None:
    if line.endswith("\n"):
        (promised if line[0] == "+" else may_be_gone).add(line[1:-1])


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[3]
    return {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
