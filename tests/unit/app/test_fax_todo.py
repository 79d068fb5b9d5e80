"""What is still to be done with a fax, on disk and back."""

from __future__ import annotations

import pytest

from lanpost.app.fax_todo import FaxTodo, Step
from lanpost.content.mdn import Notified
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient

ANNA = MailAddress.parse("Änna@office.lan")
TO = Recipient(MailAddress.parse("fax1@office.lan"), frozenset({"SUCCESS"}), "rfc822;fax1")


def todo(*steps: Step, sender: MailAddress | None = ANNA, mdn_to: MailAddress | None = ANNA) -> FaxTodo:
    envelope = Envelope(sender, (TO,), smtputf8=True, ret="HDRS", envid="7")
    return FaxTodo("fax", Notified(TO, envelope, "<1@x>", "Grüße"), 1.5, 99, list(steps), mdn_to, 2, "no paper")


@pytest.mark.parametrize("sender", [ANNA, None])
def test_all_of_it_comes_back(sender: MailAddress | None) -> None:
    written = todo(*Step, sender=sender, mdn_to=sender)
    assert FaxTodo.load(written.dump()) == written


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"fax": 1}', todo().dump().replace(b"fax1@", b"@")])
def test_anything_else_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"fax|JSON|value|address|@"):
        FaxTodo.load(data)


def test_steps_are_taken_in_order_and_the_first_failure_is_what_is_told() -> None:
    left = todo(Step.PRINT, Step.COMMAND, Step.DISPOSITION)
    left.error = ""
    assert left.next_step() is Step.PRINT
    left.done("it could not be printed: no paper")
    assert (left.next_step(), left.tries) == (Step.COMMAND, 0)
    left.done("something else")
    assert left.next_step() is Step.DISPOSITION
    assert left.error == "it could not be printed: no paper"


def test_a_notification_that_nobody_wants_is_no_step() -> None:
    assert todo(Step.DISPOSITION, mdn_to=None).next_step() is None
