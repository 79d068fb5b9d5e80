"""Words that wait for the registrar: one for each address, the last one said, whoever wrote it first."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lanpost.store.lease_spool import LeaseSpool, age_of, started


@pytest.fixture
def spool(tmp_path: Path) -> LeaseSpool:
    return LeaseSpool(str(tmp_path))


def events(spool: LeaseSpool) -> list[tuple[str, str]]:
    return [(fields["address"], fields["event"]) for _, _, fields in spool.waiting()]


def test_words_wait_in_the_order_in_which_they_were_said(spool: LeaseSpool) -> None:
    for number, address in enumerate(("10.0.0.9", "fd00::7", "10.0.0.7")):
        assert spool.put(address, {"event": "bound"}, float(number))
    assert [address for address, _ in events(spool)] == ["10.0.0.9", "fd00::7", "10.0.0.7"]


def test_of_an_address_the_word_said_last_waits_whichever_was_written_last(spool: LeaseSpool) -> None:
    spool.put("10.0.0.7", {"event": "bound"}, 20.0)
    spool.put("10.0.0.7", {"event": "released"}, 20.01)
    spool.put("10.0.0.7", {"event": "renewed"}, 19.99)  # by a program that was slow
    assert events(spool) == [("10.0.0.7", "released")]


def test_a_word_from_before_the_machine_was_started_anew_makes_way(spool: LeaseSpool) -> None:
    spool.put("10.0.0.7", {"event": "bound"}, time.clock_gettime(time.CLOCK_BOOTTIME) + 9999)
    spool.put("10.0.0.7", {"event": "released"}, 1.0)
    assert events(spool) == [("10.0.0.7", "released")]


def test_what_was_heard_goes_unless_something_newer_has_taken_its_place(spool: LeaseSpool) -> None:
    spool.put("10.0.0.7", {"event": "bound"}, 1.0)
    ((name, said, _),) = spool.waiting()
    spool.put("10.0.0.7", {"event": "released"}, 2.0)
    spool.remove(name, said)
    assert events(spool) == [("10.0.0.7", "released")]
    spool.remove(name, 2.0)
    spool.remove(name, 2.0)
    assert events(spool) == []


@pytest.mark.parametrize("address", ["", "7", "../../etc/passwd", "10.0.0.7\n", "scanner", "x" * 40, "1" * 40, "."])
def test_what_is_no_address_makes_no_file(spool: LeaseSpool, tmp_path: Path, address: str) -> None:
    assert spool.put(address, {"event": "bound"}, 1.0) is False
    assert list(tmp_path.iterdir()) == []


def test_values_that_nothing_sensible_stands_in_are_left_out(spool: LeaseSpool) -> None:
    fields = {"event": "bound", "hostname": "a\nevent=released", "mac": "é", "client_id": "0" * 601, "lifetime": ""}
    spool.put("10.0.0.7", {**fields, "equals": "a=b"}, 1.0)
    ((_, _, read),) = spool.waiting()
    assert read == {"address": "10.0.0.7", "event": "bound", "equals": "a=b"}


def test_damaged_and_foreign_files_are_passed_over(spool: LeaseSpool, tmp_path: Path) -> None:
    (tmp_path / "10.0.0.8").write_text("said=soon\naddress=10.0.0.8")
    (tmp_path / "10.0.0.9").write_bytes(b"\xff\x00")
    (tmp_path / "enrolment.json").write_text("{}")
    spool.put("10.0.0.7", {"event": "bound"}, 1.0)
    assert events(spool) == [("10.0.0.7", "bound")]
    spool.put("10.0.0.8", {"event": "bound"}, 1.0)
    assert len(events(spool)) == 2


def test_one_at_a_time_may_send(spool: LeaseSpool) -> None:
    first = spool.claim()
    assert first is not None
    assert spool.claim() is None
    os.close(first)
    again = spool.claim()
    assert again is not None
    os.close(again)


def test_this_process_was_started_a_while_ago() -> None:
    assert 0 < age_of(started()) < 86400 * 30
