"""AUTH PLAIN and AUTH LOGIN, client side (RFC 4954, RFC 4616): challenges in, responses out."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from lanpost.model.reply import Reply


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are at a mail server. `needs_tls`: the password is said inside TLS, or not at all."""

    user: str
    password: str = field(repr=False)
    needs_tls: bool = True


class LoginDialogue:
    """One AUTH command and its responses. `offered`: the mechanisms of EHLO; None: there is no AUTH."""

    __slots__ = ("_left", "_login", "_mechanism", "impossible", "user")

    def __init__(self, login: Login, offered: str | None) -> None:
        mechanisms = (offered or "").upper().split()
        self._login = login
        self.user = login.user
        self._mechanism = next((name for name in ("PLAIN", "LOGIN") if name in mechanisms), "")
        self._left = [login.user, login.password]
        self.impossible = ""  # why there can be no login; follows the server's name
        if offered is None:
            self.impossible = "offers no login; is this the port for sending, 587?"
        elif not self._mechanism:
            self.impossible = f"offers no login by PLAIN or LOGIN, but by {offered or 'nothing'}"

    def begin(self) -> bytes:
        """The command."""
        if self._mechanism == "LOGIN":
            return b"AUTH LOGIN\r\n"
        return b"AUTH PLAIN " + _encoded(f"\0{self._login.user}\0{self._login.password}")

    def respond(self, reply: Reply) -> bytes | None:
        """The answer to a challenge; None: this is none, or one too many."""
        if reply.code != 334 or self._mechanism != "LOGIN" or not self._left:
            return None
        return _encoded(self._left.pop(0))


def _encoded(text: str) -> bytes:
    return base64.b64encode(text.encode()) + b"\r\n"
