"""A line of the chart: mail address -> endpoint, with a lifetime."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lanpost.errors import InvalidBinding
from lanpost.model.address import MailAddress
from lanpost.model.details import NO_DETAILS, Details
from lanpost.model.endpoint import Endpoint, ProvenEndpoint
from lanpost.model.proof import Proof


class Source(StrEnum):
    """How a binding came into the chart."""

    AGENT = "agent"  # the terminal itself, over the registration API
    ADMINISTRATOR = "administrator"  # by hand, or imported
    DHCP = "dhcp"  # a DHCP server spoke for the terminal
    SMTP = "smtp"  # learnt from the terminal's authenticated SMTP session
    LDAP = "ldap"  # written into the directory by somebody else


@dataclass(frozen=True, slots=True)
class Binding:
    """Where mail for one address goes on this LAN, and until when that is true.

    Raises InvalidBinding if the fields contradict each other: a Binding that exists is valid.
    """

    address: MailAddress
    endpoint: Endpoint
    updated: datetime  # aware, UTC
    expires: datetime | None = None  # aware, UTC; None: set by hand, for good
    source: Source = Source.ADMINISTRATOR
    owner: str = ""  # key of the account that wrote it; "" for an administrator
    proof: Proof | None = None  # what the machine there shows before it is given mail; None: nothing

    def __post_init__(self) -> None:
        if self.updated.tzinfo is None or (self.expires is not None and self.expires.tzinfo is None):
            raise InvalidBinding(f"{self.address}: times need a time zone")
        if self.expires is not None and self.expires <= self.updated:
            raise InvalidBinding(f"{self.address}: expires {self.expires} is not after updated {self.updated}")

    @property
    def destination(self) -> Endpoint:
        """The endpoint as mail is sent there: with what it has to prove."""
        if self.proof is None:
            return self.endpoint
        return ProvenEndpoint(self.endpoint.host, self.endpoint.port, self.endpoint.zone, self.proof)

    def is_live(self, now: datetime) -> bool:
        """Mail may be sent there at `now`."""
        return self.expires is None or now < self.expires


@dataclass(frozen=True, slots=True)
class Entry:
    """What the chart knows of one address: a known terminal, with or without a binding."""

    address: MailAddress
    binding: Binding | None = None
    details: Details = NO_DETAILS  # for people's address books; no mail depends on them
