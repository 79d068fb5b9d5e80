"""A queued mail written and read back is the same, whatever it holds; anything else is a ValueError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient, Waiting
from lanpost.store import queued_json

ADDRESSES = st.sampled_from(
    ["a@office.lan", "Fax1@Office.LAN", '"odd one"@office.lan', '"q\\"uote"@x', "büro@bücher.lan", "x@[10.0.0.7]"]
).map(MailAddress.parse)
RECIPIENTS = st.builds(
    Recipient,
    ADDRESSES,
    st.frozensets(st.sampled_from(["NEVER", "SUCCESS", "FAILURE", "DELAY"])),
    st.sampled_from(["", "rfc822;a+2Bb@x"]),
)
QUEUED = st.builds(
    QueuedRecipient,
    RECIPIENTS,
    st.sampled_from(Waiting),
    st.integers(0, 10**6),
    st.floats(0, 4e9),
    st.text(max_size=50),
    st.booleans(),
)
ENVELOPES = st.builds(
    Envelope,
    st.none() | ADDRESSES,
    st.lists(RECIPIENTS, max_size=4).map(tuple),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "FULL", "HDRS"]),
    st.sampled_from(["", "QQ+3D"]),
    st.none() | st.integers(0, 10**8),
)
MAILS = st.builds(
    QueuedMail,
    st.text("abc123-", min_size=1),
    ENVELOPES,
    st.floats(0, 4e9),
    st.integers(0, 10**8),
    st.lists(QUEUED, max_size=4).map(tuple),
    st.booleans(),
)


@given(MAILS)
def test_a_mail_is_read_as_it_was_written(mail: QueuedMail) -> None:
    found = queued_json.load_mail(queued_json.dump_mail(mail))
    assert found == mail
    assert str(found.envelope.sender) == str(mail.envelope.sender)
    assert queued_json.load_id(queued_json.dump_state(mail)) == mail.id
    assert queued_json.load_id(queued_json.dump_id(mail.id)) == mail.id


@given(MAILS, st.lists(QUEUED, max_size=3).map(tuple), st.booleans())
def test_a_state_brings_a_mail_up_to_date(
    mail: QueuedMail, recipients: tuple[QueuedRecipient, ...], frozen: bool
) -> None:
    later = QueuedMail(mail.id, mail.envelope, mail.arrived, mail.size, recipients, frozen)
    assert queued_json.load_state(mail, queued_json.dump_state(later)) == later


@pytest.mark.parametrize(
    "meta", [b"", b"[]", b"{}", b'{"id": 1}', b'{"id":"x","from":7}', b"\xff", json.dumps(3).encode()]
)
def test_anything_else_is_a_value_error(meta: bytes) -> None:
    with pytest.raises(ValueError):
        queued_json.load_mail(meta)
