from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lanpost.app.delivery_record import DeliveryRecord
from lanpost.errors import StoreError
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Recipient
from lanpost.model.last_delivery import LastDelivery
from lanpost.model.reply import OK, Reply
from lanpost.store.last_deliveries import FILE_NAME, LastDeliveries, last_deliveries

FAX1, FAX2, ABROAD = (MailAddress.parse(text) for text in ("fax1@office.lan", "fax2@office.lan", "ann@example.net"))
HERE, THERE, SMARTHOST = Endpoint("10.0.0.7"), Endpoint("10.0.0.8"), Endpoint("10.0.0.1")
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def outcome(address: MailAddress, endpoint: Endpoint | None, reply: Reply = OK) -> Outcome:
    return Outcome.of(Recipient(address), reply, endpoint)


async def test_what_was_delivered_is_found_by_others_once_it_is_written(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    record = DeliveryRecord(tmp_path, lambda: SMARTHOST)
    record.note([outcome(FAX1, HERE), outcome(FAX2, HERE, Reply(450, "4.2.0", "later"))])
    record.note([outcome(FAX1, THERE), outcome(ABROAD, SMARTHOST), outcome(FAX2, None)])
    await record.close()
    found = last_deliveries(tmp_path).get(FAX1)
    assert found is not None
    assert found.endpoint == THERE
    assert before <= found.time <= datetime.now(UTC)
    assert last_deliveries(tmp_path).get(FAX2) is None  # deferred, or into a mailbox here
    assert last_deliveries(tmp_path).get(ABROAD) is None


def test_an_older_delivery_does_not_take_the_place_of_a_newer(tmp_path: Path) -> None:
    one, other = LastDeliveries(tmp_path), LastDeliveries(tmp_path)  # two processes
    one.put([LastDelivery(FAX1, THERE, NOW)])
    other.put([LastDelivery(FAX1, HERE, NOW - timedelta(seconds=1))])
    assert one.all().get(FAX1) == LastDelivery(FAX1, THERE, NOW)
    one.close()
    other.close()


def test_a_terminal_keeps_its_last_delivery_under_a_new_address_and_loses_it_when_it_goes(tmp_path: Path) -> None:
    store = LastDeliveries(tmp_path)
    store.put([LastDelivery(FAX1, THERE, NOW)])
    store.move(FAX1, FAX2)
    assert store.all().get(FAX1) is None
    assert store.all().get(FAX2) == LastDelivery(FAX2, THERE, NOW)
    store.remove(FAX2)
    assert store.all().get(FAX2) is None
    store.close()


def test_a_look_makes_no_file_and_a_damaged_one_is_as_good_as_none(tmp_path: Path) -> None:
    assert last_deliveries(tmp_path).get(FAX1) is None
    assert not (tmp_path / FILE_NAME).exists()
    (tmp_path / FILE_NAME).write_text("no database")
    assert last_deliveries(tmp_path).get(FAX1) is None
    with pytest.raises(StoreError):
        LastDeliveries(tmp_path)
    DeliveryRecord(tmp_path, lambda: None).note([outcome(FAX1, HERE)])  # a server starts all the same


async def test_a_file_that_cannot_be_written_keeps_no_mail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = DeliveryRecord(tmp_path, lambda: None)
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("DROP TABLE delivery")
    record.note([outcome(FAX1, HERE)])
    await record.close()
    assert "last deliveries not written down" in capsys.readouterr().out
    shutil.rmtree(tmp_path)
