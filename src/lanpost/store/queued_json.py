"""A queued mail as JSON, for the spool's records. Pure; raises ValueError (InvalidValue too) on anything else.

What a mail came with is written once; what changes with each attempt is a small state that names the envelope's
recipients by their number.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient, Waiting


def dump_mail(mail: QueuedMail) -> bytes:
    """Everything but the content."""
    envelope = mail.envelope
    return _dump(
        {
            "id": mail.id,
            "arrived": mail.arrived,
            "size": mail.size,
            "from": None if envelope.sender is None else str(envelope.sender),
            "to": [_recipient(item) for item in envelope.recipients],
            "8bit": envelope.body_8bit,
            "utf8": envelope.smtputf8,
            "ret": envelope.ret,
            "envid": envelope.envid,
            "declared": envelope.size,
            "state": _state(mail),
        }
    )


def load_mail(meta: bytes) -> QueuedMail:
    """The mail that `dump_mail` wrote."""
    try:
        value = json.loads(meta)
        envelope = Envelope(
            sender=None if value["from"] is None else MailAddress.parse(value["from"]),
            recipients=tuple(_load_recipient(item) for item in value["to"]),
            body_8bit=value["8bit"],
            smtputf8=value["utf8"],
            ret=value["ret"],
            envid=value["envid"],
            size=value["declared"],
        )
        mail = QueuedMail(value["id"], envelope, value["arrived"], value["size"], ())
        return _with_state(mail, value["state"])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"not a mail of the spool: {error!r}") from None


def dump_state(mail: QueuedMail) -> bytes:
    """Only what attempts and the administrator change."""
    return _dump({"id": mail.id, "state": _state(mail)})


def load_id(meta: bytes) -> str:
    """The id of the mail that a state or a removal is about."""
    try:
        return str(json.loads(meta)["id"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a record of the spool: {error!r}") from None


def load_state(mail: QueuedMail, meta: bytes) -> QueuedMail:
    """`mail` with the state that `dump_state` wrote."""
    try:
        return _with_state(mail, json.loads(meta)["state"])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"not a state of the spool: {error!r}") from None


def dump_id(mail_id: str) -> bytes:
    """What a removal says."""
    return _dump({"id": mail_id})


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _recipient(recipient: Recipient) -> list[Any]:
    return [str(recipient.address), sorted(recipient.notify), recipient.orcpt]


def _load_recipient(value: list[Any]) -> Recipient:
    return Recipient(MailAddress.parse(value[0]), frozenset(value[1]), value[2])


def _state(mail: QueuedMail) -> list[Any]:
    numbers = {recipient: number for number, recipient in enumerate(mail.envelope.recipients)}
    return [
        mail.frozen,
        [
            [
                numbers.get(item.recipient, _recipient(item.recipient)),
                item.waiting.value,
                item.attempts,
                item.next_due,
                item.last_reply,
                item.delay_told,
            ]
            for item in mail.recipients
        ],
    ]


def _with_state(mail: QueuedMail, state: list[Any]) -> QueuedMail:
    known = mail.envelope.recipients
    return replace(
        mail,
        frozen=state[0],
        recipients=tuple(
            QueuedRecipient(
                known[who] if isinstance(who, int) else _load_recipient(who),
                Waiting(waiting),
                attempts,
                next_due,
                last_reply,
                delay_told,
            )
            for who, waiting, attempts, next_due, last_reply, delay_told in state[1]
        ),
    )
