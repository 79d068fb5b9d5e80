"""People's passwords: what may be one, how it is kept (argon2id, RFC 9106), how it is checked.

Hashing and checking take some 50 ms of one core and 64 MiB by intention: the caller sees to threads and to how
many at once.
"""

from __future__ import annotations

import base64
import secrets
import unicodedata

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from lanpost.errors import InvalidValue

MIN_CHARACTERS = 8
MAX_OCTETS = 255  # what AUTH PLAIN must be able to carry (RFC 4616 §2)


def check_rules(password: str) -> None:
    """Raises InvalidValue for what may not become a password."""
    if len(password) < MIN_CHARACTERS:
        raise InvalidValue(f"a password needs at least {MIN_CHARACTERS} characters")
    if len(_prepared(password)) > MAX_OCTETS:
        raise InvalidValue(f"a password may have at most {MAX_OCTETS} octets in UTF-8")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in password):
        raise InvalidValue("a password may not hold control characters, such as a tab or a line's end")


class Passwords:
    """Makes and checks hashes; PHC strings, which name their own parameters."""

    def __init__(self, parameters: argon2.Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = argon2.PasswordHasher.from_parameters(parameters)
        self._decoy = _decoy(parameters)

    def hash(self, password: str) -> str:
        """What to keep of a password. Raises InvalidValue where it breaks the rules."""
        check_rules(password)
        return self._hasher.hash(_prepared(password))

    def verify(self, password_hash: str, password: str) -> bool:
        """It is the password. For a hash of "" (nobody, or one who cannot log in) False, after the same work."""
        try:
            return self._hasher.verify(password_hash or self._decoy, _prepared(password)) and bool(password_hash)
        except (VerificationError, InvalidHashError):
            return False

    def is_outdated(self, password_hash: str) -> bool:
        """Made with other parameters than those in force: make it anew when the password is next seen."""
        return self._hasher.check_needs_rehash(password_hash)


def _prepared(password: str) -> bytes:
    """RFC 8265 §4.2 (OpaqueString): spaces of all kinds are one, composed forms are equal, case is not."""
    spaces = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaces).encode("utf-8", "surrogatepass")


def _decoy(parameters: argon2.Parameters) -> str:
    """A hash that no password has, and that takes as long to find out."""

    def text(octets: int) -> str:
        return base64.b64encode(secrets.token_bytes(octets)).decode("ascii").rstrip("=")

    cost = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return f"$argon2id$v={parameters.version}${cost}${text(parameters.salt_len)}${text(parameters.hash_len)}"
