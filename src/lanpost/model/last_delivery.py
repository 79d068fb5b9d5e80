"""When a terminal was last given mail: what its administrator asks first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class LastDelivery:
    """The last mail that the terminal's endpoint accepted, told to the second or so."""

    address: MailAddress
    endpoint: Endpoint
    time: datetime  # aware, UTC
