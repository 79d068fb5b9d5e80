"""One entry of the chart as named texts: what its CSV and JSON forms share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from lanpost.errors import InvalidBinding
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import NO_DETAILS, Details
from lanpost.model.endpoint import Endpoint
from lanpost.model.proof import Proof

COLUMNS = ("address", "endpoint", "updated", "expires", "source", "owner", "proof")


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is no entry: where it is, and what to mend."""

    place: str  # "line 7"
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class EntryWriter(Protocol):
    """Writes entries one after the other in some form."""

    def put(self, entry: Entry) -> None: ...
    def end(self) -> None:
        """What follows the last entry."""


def texts_of(entry: Entry) -> dict[str, str]:
    """The entry's columns; what it lacks is empty."""
    texts = dict.fromkeys(COLUMNS, "")
    texts["address"] = str(entry.address)
    if binding := entry.binding:
        texts["endpoint"] = str(binding.endpoint)
        texts["updated"] = time_text(binding.updated)
        texts["expires"] = time_text(binding.expires) if binding.expires else ""
        texts["source"] = binding.source.value
        texts["owner"] = binding.owner
        texts["proof"] = str(binding.proof) if binding.proof else ""
    return texts


def entry_of(texts: Mapping[str, str], default_domain: str, now: datetime, details: Details = NO_DETAILS) -> Entry:
    """The entry that such columns mean. No endpoint: a known terminal without a binding.

    What is left out is what an administrator's hand would have made of it: updated now, never to expire.
    Raises InvalidValue, whose text is the remedy.
    """
    address = MailAddress.parse(texts.get("address", "").strip(), default_domain)
    endpoint = texts.get("endpoint", "").strip()
    if not endpoint:
        return Entry(address, None, details)
    owner = texts.get("owner", "").strip()
    if not owner.isprintable():
        raise InvalidBinding(f"owner is {owner[:40]!r}; write the address of an account, or leave it empty")
    proof = texts.get("proof", "").strip()
    updated, expires = texts.get("updated"), texts.get("expires")
    binding = Binding(
        address,
        Endpoint.parse(endpoint),
        (time_of("updated", updated) if updated else None) or now,
        time_of("expires", expires) if expires else None,
        _source(texts.get("source", "").strip()),
        owner,
        Proof.parse(proof) if proof else None,
    )
    return Entry(address, binding, details)


def time_text(time: datetime) -> str:
    """RFC 3339, UTC, exact: `2026-11-23T20:15:00.5Z` has as many decimals as it needs."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def time_of(column: str, text: str) -> datetime | None:
    """Read RFC 3339; None for nothing but blanks. Raises InvalidBinding, which names the column."""
    text = text.strip()
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidBinding(
        f"{column} is {text[:40]!r}; write a time with its zone, as 2026-11-23T20:15:00Z, or leave it empty"
    )


def _source(text: str) -> Source:
    try:
        return Source(text) if text else Source.ADMINISTRATOR
    except ValueError:
        raise InvalidBinding(
            f"source is {text[:40]!r}; write one of {', '.join(Source)}, or leave it empty"
        ) from None
