"""A binding as a terminal's registrar confirmed it. Standard library only: the agent uses it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Registration:
    address: str
    endpoint: str
    updated: str  # ISO 8601, by the server's clock
    expires: str  # "" where it has no end
    lifetime: float | None  # seconds, by the server's clock
    url: str  # of the server that took it
