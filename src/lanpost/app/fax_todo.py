"""What is still to be done with a fax that is stored, as it lies on disk meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lanpost.content.mdn import Notified
from lanpost.errors import InvalidAddress
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient


class Step(StrEnum):
    """In the order that they are taken in."""

    DELIVERY_REPORT = "delivery report"  # asked for by NOTIFY=SUCCESS (RFC 3461 §4.1)
    PRINT = "print"
    COMMAND = "command"
    DISPOSITION = "disposition notification"


@dataclass(slots=True)
class FaxTodo:
    """`steps` are left to do, the first one first; a step that failed for good has left its reason in `error`."""

    fax: str  # the name of its folder
    about: Notified
    arrived: float  # seconds since the epoch
    size: int  # octets of the mail
    steps: list[Step]
    mdn_to: MailAddress | None = None
    tries: int = 0  # of the first step
    error: str = field(default="")

    def next_step(self) -> Step | None:
        """What is to be done now. A notification that nobody is to be sent is none."""
        if self.steps and self.steps[0] is Step.DISPOSITION and self.mdn_to is None:
            self.steps.clear()
        return self.steps[0] if self.steps else None

    def done(self, error: str = "") -> None:
        """The first step is over, for better or (with `error`, in words) for worse."""
        del self.steps[0]
        self.tries = 0
        self.error = self.error or error

    def dump(self) -> bytes:
        envelope, recipient = self.about.envelope, self.about.recipient
        return json.dumps(
            {
                "fax": self.fax,
                "sender": str(envelope.sender) if envelope.sender else None,
                "ret": envelope.ret,
                "envid": envelope.envid,
                "utf8": envelope.smtputf8,
                "recipient": str(recipient.address),
                "notify": sorted(recipient.notify),
                "orcpt": recipient.orcpt,
                "message_id": self.about.message_id,
                "subject": self.about.subject,
                "arrived": self.arrived,
                "size": self.size,
                "steps": self.steps,
                "mdn_to": str(self.mdn_to) if self.mdn_to else None,
                "tries": self.tries,
                "error": self.error,
            },
            indent=1,
        ).encode()

    @staticmethod
    def load(data: bytes) -> FaxTodo:
        """Raises ValueError for what `dump` did not write."""
        try:
            value: dict[str, Any] = json.loads(data)
            sender = value["sender"]
            recipient = Recipient(MailAddress.parse(value["recipient"]), frozenset(value["notify"]), value["orcpt"])
            envelope = Envelope(
                None if sender is None else MailAddress.parse(sender),
                (recipient,),
                smtputf8=value["utf8"],
                ret=value["ret"],
                envid=value["envid"],
            )
            return FaxTodo(
                value["fax"],
                Notified(recipient, envelope, value["message_id"], value["subject"]),
                value["arrived"],
                value["size"],
                [Step(step) for step in value["steps"]],
                MailAddress.parse(value["mdn_to"]) if value["mdn_to"] else None,
                value["tries"],
                value["error"],
            )
        except (LookupError, TypeError, InvalidAddress) as error:
            raise ValueError(f"not what is to be done with a fax: {error!r}") from None
