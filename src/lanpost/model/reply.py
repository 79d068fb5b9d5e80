"""SMTP replies and enhanced status codes (RFC 5321 §4.2, RFC 3463)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply. `status` is "" where none belongs: greeting, EHLO, 354 (RFC 2034 §4)."""

    code: int
    status: str
    text: str  # lines divided by "\n"

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    def encode(self) -> bytes:
        """The reply on the wire, every line ended by CRLF."""
        lines = self.text.split("\n")
        status = f"{self.status} " if self.status else ""
        shown = [f"{self.code}-{status}{line}\r\n" for line in lines[:-1]]
        shown.append(f"{self.code} {status}{lines[-1]}\r\n")
        return "".join(shown).encode("utf-8", "replace")

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.status, self.text.replace("\n", " "))))


OK = Reply(250, "2.0.0", "Ok")
SENDER_OK = Reply(250, "2.1.0", "Sender ok")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient ok")
START_CONTENT = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
NO_SUCH_USER = Reply(550, "5.1.1", "No such mail address here")
RELAY_DENIED = Reply(550, "5.7.1", "Relaying denied: this address is not ours")
STORAGE_FULL = Reply(452, "4.3.1", "Insufficient storage, try again later")
TOO_BIG = Reply(552, "5.3.4", "Mail too big")
LOCAL_ERROR = Reply(451, "4.3.0", "Local error, try again later")
UNANSWERED = Reply(451, "4.4.3", "The chart cannot be asked now, try again later")
SHUTTING_DOWN = Reply(421, "4.3.2", "Closing for maintenance, try again later")
TOO_MANY_HOPS = Reply(554, "5.4.6", "Too many hops: this mail is in a loop")
