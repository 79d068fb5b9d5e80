"""How a terminal shows, before it is given mail, that the machine at its endpoint is it and no other.

Standard library only: the agent uses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lanpost.errors import InvalidProof

MAX_GREETING = 255  # characters: what a domain can have (RFC 5321 §4.5.3.1.2)
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_GREETING = re.compile(r"[!-~]+\Z")


class ProofKind(StrEnum):
    """What the mail server looks at."""

    TLS = "tls"  # the certificate that the endpoint shows behind STARTTLS: its SHA-256 (DER), in hexadecimal
    GREETING = "greeting"  # the name in its greeting; it only tells honest machines apart


@dataclass(frozen=True, slots=True)
class Proof:
    """One of them, as `tls:SHA256` or `greeting:NAME`. Raises InvalidProof."""

    kind: ProofKind
    value: str

    def __post_init__(self) -> None:
        if self.kind is ProofKind.TLS and not _DIGEST.match(self.value):
            raise InvalidProof("write a certificate's SHA-256 in 64 lower-case hex digits behind tls:")
        if self.kind is ProofKind.GREETING and not (
            len(self.value) <= MAX_GREETING and _GREETING.match(self.value) and self.value == self.value.lower()
        ):
            raise InvalidProof(f"write a name of at most {MAX_GREETING} lower-case characters behind greeting:")

    @staticmethod
    def parse(text: str) -> Proof:
        """Read what `str` gives."""
        kind, _, value = text.partition(":")
        try:
            return Proof(ProofKind(kind), value)
        except ValueError as error:
            if isinstance(error, InvalidProof):
                raise
            raise InvalidProof(f"{text[:40]!r} is no proof: write tls:SHA256 or greeting:NAME") from None

    @staticmethod
    def is_known(text: str) -> bool:
        """Whether that is of a kind that this version looks at; a later one may know others."""
        return text.partition(":")[0] in {kind.value for kind in ProofKind}

    @staticmethod
    def of_greeting(name: str) -> Proof:
        """That the endpoint greets by this name, in whatever case."""
        return Proof(ProofKind.GREETING, name.lower())

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"
