"""The inquiry: which way one recipient's mail goes.

Decides only; asks the mailboxes of this machine first (a mailbox address is never inquired for), then the chart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.model.delivery import Route, Way
from lanpost.model.endpoint import Endpoint
from lanpost.model.reply import NO_SUCH_USER, RELAY_DENIED, UNANSWERED
from lanpost.service.fax_numbers import FaxNumbers, fax_number
from lanpost.service.ports import Chart, Clock, Mailboxes


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """The parts of the configuration that routing needs."""

    domain: str  # ours; mail for it is never relayed
    smarthost: Endpoint | None = None  # where mail for other domains goes
    fallback: MailAddress | None = None  # mailbox for mail whose inquiry fails
    fax_gateway: MailAddress | None = None  # the terminal that telephones for fax numbers nobody here has


class Router:
    """One way for every recipient; never raises for an address, whatever the chart does."""

    def __init__(self, rules: RoutingRules, chart: Chart, mailboxes: Mailboxes, clock: Clock) -> None:
        self.rules = rules  # may be replaced while running
        self._domain = MailAddress.parse(f"x@{rules.domain}").key.partition("@")[2]
        self._chart = chart
        self._mailboxes = mailboxes
        self._clock = clock
        self._numbers = FaxNumbers(chart, clock)

    async def route(self, address: MailAddress, *, may_relay: bool) -> Route:
        """The way for one recipient, asked afresh each time: the terminal may have moved.

        An unknown recipient's route carries the refusal for RCPT. UNANSWERED: the chart could not be asked; the
        address may be right, so mail for it is never refused for good.
        """
        if address.is_literal:
            return await self._route_literal(address, may_relay=may_relay)
        if self._mailboxes.has(address):
            return Route(address, Way.MAILBOX, mailbox=address)
        ours = address.key.endswith(self._domain) and address.key.partition("@")[2] == self._domain
        try:
            entry = await self._chart.look_up(address, whole=False)
            if entry is not None:
                return self._to_terminal(address, entry)
            by_number = await self._route_number(address, ours=ours, may_relay=may_relay)
        except ChartUnavailable:
            return self._unanswered(address, ours=ours, may_relay=may_relay)
        if by_number is not None:
            return by_number
        if ours:
            return Route(address, Way.UNKNOWN, refusal=NO_SUCH_USER)
        return self._outside(address, may_relay=may_relay)

    def _to_terminal(self, address: MailAddress, entry: Entry) -> Route:
        binding = entry.binding
        if binding is not None and binding.is_live(self._clock()):
            return Route(address, Way.ENDPOINT, endpoint=binding.destination, binding=binding)
        return Route(address, Way.HOLD, binding=binding)

    async def _route_number(self, address: MailAddress, *, ours: bool, may_relay: bool) -> Route | None:
        """A fax number's way: to the terminal here that has it, else to the gateway that telephones.

        None: the address says no fax number, or nobody is there for it. Telephoning costs, so strangers may not
        (RFC 3965 §5.2.4).
        """
        number = fax_number(address)
        if number is None:
            return None
        gateway = self.rules.fax_gateway if ours else self._gateway_of(address)
        if ours and (entry := await self._numbers.find(number.number)) is not None:
            return replace(self._to_terminal(address, entry), instead=entry.address, terminal=entry.address)
        entry = await self._chart.look_up(gateway, whole=False) if gateway is not None else None
        if entry is None:
            return None
        if not may_relay:
            return Route(address, Way.UNKNOWN, refusal=RELAY_DENIED)
        return replace(self._to_terminal(address, entry), terminal=entry.address)

    def _gateway_of(self, address: MailAddress) -> MailAddress | None:
        """Of `FAX=...@gw.office.lan` it is gw@office.lan."""
        name, _, domain = address.key.rpartition("@")[2].partition(".")
        return MailAddress.parse(f"{name}@{domain}") if domain == self._domain else None

    async def _route_literal(self, address: MailAddress, *, may_relay: bool) -> Route:
        """`fax1@[10.0.0.7]`: taken only where the chart binds fax1 to that very host (RFC 5321 §4.1.3).

        Anything else would let a sender aim our server at any address on the LAN.
        """
        at_home = MailAddress.parse(str(address).rpartition("@")[0], self.rules.domain)
        route = await self.route(at_home, may_relay=may_relay)
        if route.endpoint is not None and route.endpoint.host == address.literal_host:
            return route
        if route.way is Way.UNANSWERED:
            return route
        return Route(address, Way.UNKNOWN, refusal=NO_SUCH_USER)

    def _unanswered(self, address: MailAddress, *, ours: bool, may_relay: bool) -> Route:
        if ours:
            return Route(address, Way.UNANSWERED, mailbox=self.rules.fallback)
        if may_relay and self.rules.smarthost is not None:
            return self._outside(address, may_relay=may_relay)
        # A stranger's address might be a terminal's: only the chart knows, so the client is asked to come again.
        return Route(address, Way.UNANSWERED, refusal=UNANSWERED)

    def _outside(self, address: MailAddress, *, may_relay: bool) -> Route:
        if may_relay and self.rules.smarthost is not None:
            return Route(address, Way.RELAY, endpoint=self.rules.smarthost)
        return Route(address, Way.UNKNOWN, refusal=RELAY_DENIED)
