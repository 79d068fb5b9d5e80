from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lanpost.app.spool_adoption import adopt
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient
from lanpost.store.spool import JournalSpool

CONTENT = b"Subject: x\r\n\r\nx\r\n"
MORE_THAN_ANY_DISK = 1 << 62  # octets to be left free


def mail(mail_id: str) -> QueuedMail:
    fax = Recipient(MailAddress.parse("fax1@office.lan"))
    return QueuedMail(mail_id, Envelope(None, (fax,)), 1.0, len(CONTENT), (QueuedRecipient(fax),))


@pytest.fixture
def spools(tmp_path: Path) -> Path:
    """Two former workers, with a mail each."""
    for number in ("1", "2"):
        with closing(JournalSpool(tmp_path / number)) as spool:
            spool.put(mail(f"m{number}"), [CONTENT]).result()
    return tmp_path


@contextmanager
def first(spools: Path, free_disk: int = 0) -> Iterator[JournalSpool]:
    with closing(JournalSpool(spools / "0", free_disk=free_disk)) as spool:
        yield spool


def held(spool: JournalSpool) -> dict[str, bytes]:
    return {each.id: b"".join(spool.content(each.id).result()) for each in spool.mails()}


def test_mail_of_workers_that_are_no_more_is_taken_over_whole(spools: Path) -> None:
    with first(spools) as spool:
        adopt(spool, spools, workers=2)
        assert held(spool) == {"m2": CONTENT}, "worker 1 is still one of them"
        adopt(spool, spools, workers=1)
        assert held(spool) == {"m1": CONTENT, "m2": CONTENT}
    assert [path.name for path in spools.iterdir()] == ["0"]


def test_mail_that_cannot_be_moved_now_stays_and_keeps_no_server_from_starting(spools: Path) -> None:
    with first(spools, free_disk=MORE_THAN_ANY_DISK) as spool:
        adopt(spool, spools, workers=1)
        assert held(spool) == {}
    with first(spools) as spool:
        adopt(spool, spools, workers=1)
        assert set(held(spool)) == {"m1", "m2"}


def test_a_spool_that_cannot_be_opened_does_not_hold_up_the_others(spools: Path) -> None:
    with first(spools) as spool, closing(JournalSpool(spools / "1")):
        adopt(spool, spools, workers=1)
        assert set(held(spool)) == {"m2"}
    assert (spools / "1").is_dir()


def test_a_mail_that_was_moved_before_a_kill_is_not_there_twice(spools: Path) -> None:
    with first(spools) as spool:
        spool.put(mail("m1"), [CONTENT]).result()
        adopt(spool, spools, workers=1)
        assert set(held(spool)) == {"m1", "m2"}
