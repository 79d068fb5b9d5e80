"""Fax numbers in mail addresses: `FAX=+12027653000/T33S=1387@gateway` (RFC 3191, RFC 3192).

Reads what machines really send: `fax=` in either case, slashes and quotes around it, numbers without a plus, with
`#`, `*` and separators. Writes the strict form alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lanpost.errors import InvalidAddress
from lanpost.model.address import MAX_LOCAL, MailAddress
from lanpost.model.fax_number import normal, without_separators

MAX_DIGITS = 40  # what machines keep; E.164 has 15, internal codes more
MAX_SUBADDRESS = 20  # digits (ITU-T T.33)
LOOSE_DIGITS = 3  # a bare number has at least so many, else it is a name like "42"

_SUBADDRESS = re.compile(r"[0-9*#]{1,20}\Z")


@dataclass(frozen=True, slots=True)
class FaxAddress:
    """A number in the world's telephone network, or a local one, and whom behind it the fax is for."""

    number: str  # "+" and digits: a global one; else as it is dialled: digits, * and #
    subaddress: str = ""  # T33S; "": none

    @property
    def is_global(self) -> bool:
        return self.number.startswith("+")

    @property
    def local_part(self) -> str:
        """The strict form (RFC 3192 §2); without a plus for numbers that are only known here."""
        return f"FAX={self.number}" + (f"/T33S={self.subaddress}" if self.subaddress else "")

    def at(self, domain: str) -> MailAddress:
        """The whole mail address. Raises InvalidAddress for a domain that is none."""
        return MailAddress.parse(f"{self.local_part}@{domain}")


def read(local: str) -> FaxAddress | None:
    """A mail address's local part as a fax address; None: it does not begin as one.

    Raises InvalidAddress where it does and says no number.
    """
    text = local.strip('"').strip("/").strip()
    if text[:4].lower() != "fax=":
        return None
    number_text, *parameters = text[4:].split("/")
    number = normal(number_text)
    if number is None or len(local) > MAX_LOCAL:
        raise InvalidAddress(f"{local[:80]!r} names no fax number; write FAX=+12027653000")
    subaddress = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.upper() == "T33S":
            if subaddress or not _SUBADDRESS.match(value := without_separators(value)):
                raise InvalidAddress(f"{local[:80]!r}: T33S needs 1 to {MAX_SUBADDRESS} digits, once")
            subaddress = value
        # Other parameters are for a gateway that knows them: they do not change the number.
    return FaxAddress(number, subaddress)


def bare(local: str) -> FaxAddress | None:
    """A local part that is a number and nothing else, as people type it. None: it is something else."""
    number = normal(local)
    if number is None or sum(char.isdigit() for char in number) < LOOSE_DIGITS:
        return None
    return FaxAddress(number)


def features(value: str) -> frozenset[str]:
    """What a `facsimileTelephoneNumber` says of the machine behind `$`, as twoDimensional (RFC 4517 §3.3.11)."""
    return frozenset(word.strip().lower() for word in value.split("$")[1:] if word.strip())
