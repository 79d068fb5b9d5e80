"""What a registrant shows, and how it is checked: secrets of high entropy, kept as one SHA-256.

A secret that we make is `RANDOM.ACCOUNT`: it names the account it belongs to, so that a terminal with the wrong
address is told so, and a DHCP server speaking for others is found without a search.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field

from lanpost.errors import InvalidValue
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.token import PREFIX, EnrolmentToken

SECRET_OCTETS = 24  # random ones: 192 bits, nobody guesses that however often he may try


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret as it was shown, and the account that it names, if it names one."""

    secret: str = field(repr=False)
    account: MailAddress | None = None

    @staticmethod
    def read(text: str) -> Credential:
        """From what stands behind `Bearer`: a secret, or by mistake a whole enrolment token.

        Raises InvalidValue where such a token is damaged.
        """
        if text.startswith(PREFIX):
            token = EnrolmentToken.decode(text)
            return Credential(token.secret, token.address)
        return Credential(text, _account_in(text))

    def proves(self, secret_sha256: bytes) -> bool:
        """It is the secret with that SHA-256; takes as long for a wrong one."""
        return secrets.compare_digest(sha256_of(self.secret), secret_sha256)

    def proves_terminal(self, terminal: Terminal | None) -> bool:
        return terminal is not None and self.proves(terminal.secret_sha256)


def new_secret(account: MailAddress) -> str:
    """A fresh random secret for that account."""
    name = base64.urlsafe_b64encode(str(account).encode("utf-8", "replace")).decode("ascii").rstrip("=")
    return f"{secrets.token_urlsafe(SECRET_OCTETS)}.{name}"


def sha256_of(secret: str) -> bytes:
    """What of a secret may be stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _account_in(secret: str) -> MailAddress | None:
    _, dot, name = secret.partition(".")
    if not dot:
        return None
    try:
        return MailAddress.parse(
            base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_", validate=True).decode()
        )
    except (InvalidValue, binascii.Error, UnicodeError):
        return None
