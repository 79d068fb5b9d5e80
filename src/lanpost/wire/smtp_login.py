"""AUTH PLAIN and AUTH LOGIN, server side (RFC 4954, RFC 4616): lines in, challenges or credentials out.

Decides nothing about the password, and never shows it: neither in a reply nor in a repr. Never raises.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from lanpost.model.reply import Reply

MECHANISMS = "PLAIN LOGIN"  # as EHLO lists them
MAX_AUTH_LINE = 12288  # octets (RFC 4954 §4)

UNKNOWN_MECHANISM = Reply(504, "5.5.4", f"AUTH takes one of: {MECHANISMS}")
CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
NOT_BASE64 = Reply(501, "5.5.2", "Not base64")
INCOMPLETE = Reply(501, "5.5.2", "Login or password missing")
FOR_ANOTHER = Reply(535, "5.7.8", "Nobody may act for another account")

_ASK = Reply(334, "", "")
_ASK_LOGIN = Reply(334, "", "VXNlcm5hbWU6")  # "Username:"
_ASK_PASSWORD = Reply(334, "", "UGFzc3dvcmQ6")  # "Password:"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client says who it is, to be answered by 235, 535 or 454."""

    login: str
    password: str = field(repr=False)


class LoginDialogue:
    """One AUTH command, from its argument to the credentials."""

    __slots__ = ("_login", "_mechanism")

    def __init__(self) -> None:
        self._mechanism = b""
        self._login: str | None = None

    def take(self, line: bytes) -> Reply | Credentials:
        """AUTH's argument, then each further line. A 334 asks for the next one; any other reply ends this."""
        if self._mechanism:
            return self._respond(line)
        mechanism, blank, initial = line.partition(b" ")
        self._mechanism = mechanism.upper()
        if self._mechanism not in (b"PLAIN", b"LOGIN"):
            return UNKNOWN_MECHANISM
        if blank:
            return self._respond(b"" if initial == b"=" else initial)  # RFC 4954 §4: "=" is an empty response
        return _ASK if self._mechanism == b"PLAIN" else _ASK_LOGIN

    def _respond(self, line: bytes) -> Reply | Credentials:
        if line == b"*":
            return CANCELLED
        try:
            words = base64.b64decode(line, validate=True).decode().split("\0")
        except (binascii.Error, UnicodeDecodeError):
            return NOT_BASE64
        if self._mechanism == b"PLAIN":
            if len(words) != 3 or not words[1] or not words[2]:
                return INCOMPLETE
            acts_for, login, password = words
            return FOR_ANOTHER if acts_for not in ("", login) else Credentials(login, password)
        if len(words) != 1 or not words[0]:
            return INCOMPLETE
        if self._login is None:
            self._login = words[0]
            return _ASK_PASSWORD
        return Credentials(self._login, words[0])
