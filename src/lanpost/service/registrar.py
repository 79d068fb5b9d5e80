"""Who may bind which address, to which endpoint, for how long.

A terminal changes its own binding and nobody else's. Every refusal is a RegistrationRefused with the HTTP status
for the API and a sentence that says what to do. ChartUnavailable and StoreError pass through: they are nobody's
fault at the other end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lanpost.errors import RegistrationRefused
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.device import Lease
from lanpost.model.endpoint import SMTP_PORT, Endpoint
from lanpost.model.networks import Network, is_within
from lanpost.model.proof import Proof
from lanpost.service.credentials import Credential, new_secret, sha256_of
from lanpost.service.handover import Dropped, ignore, make_way
from lanpost.service.learning import learn
from lanpost.service.leases import Heard, Leases
from lanpost.service.ports import Accounts, Chart, Durably, Mailboxes
from lanpost.service.throttle import Throttle

MIN_LIFETIME = timedelta(seconds=1)  # below it a terminal would do little but register
MAX_LIFETIME = timedelta(days=3650)  # even for an administrator; he can also say nothing, and bind for good
WRONG_SECRETS = 20  # of one peer in a minute
CLAIMS = 20  # of one peer in an hour: one machine must not take every name there is
# Names that mean the people behind a mail system (RFC 5321 §4.5.1, RFC 2142): nobody claims them, an administrator
# may enrol them.
RESERVED = frozenset(
    [
        "abuse",
        "admin",
        "administrator",
        "hostmaster",
        "mailer-daemon",
        "noc",
        "postmaster",
        "root",
        "security",
        "webmaster",
    ]
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The administrator's choices."""

    domain: str  # claims are for addresses in it only
    endpoint_ports: tuple[int, ...] = (SMTP_PORT,)  # that a binding may name
    lifetime: timedelta = timedelta(hours=24)  # given where none is asked for, and the most a terminal gets
    claim: bool = False  # strangers may take free addresses
    networks: tuple[Network, ...] = ()  # from which they may

    @property
    def min_lifetime(self) -> timedelta:
        return min(MIN_LIFETIME, self.lifetime)


@dataclass(frozen=True, slots=True)
class Request:
    """What a registrant asks for; None: as the rules have it."""

    port: int | None = None
    endpoint: Endpoint | None = None  # None: where it registers from
    lifetime: timedelta | None = None
    proof: Proof | None = None  # what the machine there will show; None: nothing
    key: str = field(default="", repr=False)  # of a claim, chosen by the claimant; "": the registrar makes one


@dataclass(frozen=True, slots=True)
class Registration:
    """The binding now in force, and for a fresh claim the key that later changes must show, told this once."""

    binding: Binding
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _Registrant:
    """Who asks: an enrolled terminal, or (None) an administrator."""

    terminal: Terminal | None

    def owns(self, address: MailAddress) -> bool:
        return self.terminal is not None and self.terminal.address == address

    @property
    def is_trusted(self) -> bool:
        return self.terminal is None or self.terminal.speaks_for_others


class Registrar:
    """Decides on registrations and writes them into the chart.

    `administrator_sha256` is of the administrator's secret; b"" means there is none. `durably` runs a write that
    waits for the disk away from the event loop. `peer` is always where the asking connection comes from. `dropped`
    is told of terminals that another has taken the endpoint from.
    """

    def __init__(
        self,
        chart: Chart,
        accounts: Accounts,
        mailboxes: Mailboxes,
        rules: Rules,
        *,
        durably: Durably,
        administrator_sha256: bytes = b"",
        dropped: Dropped = ignore,
    ) -> None:
        self._chart = chart
        self._accounts = accounts
        self._mailboxes = mailboxes
        self._durably = durably
        self._administrator_sha256 = administrator_sha256
        self._dropped = dropped
        self._wrong_secrets = Throttle(WRONG_SECRETS, timedelta(minutes=1))
        self._claims = Throttle(CLAIMS, timedelta(hours=1))
        self._claiming: set[MailAddress] = set()
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Decide by these rules from now on; bindings made under others stay."""
        self._rules = rules
        self._own_domain = _domain_key(MailAddress.parse("x", rules.domain))
        # A lease may be longer than what we give ourselves: its DHCP server tells of its end.
        self._leases = Leases(self._chart, self._accounts, rules.endpoint_ports, MAX_LIFETIME, self._dropped)

    @property
    def lifetime(self) -> timedelta:
        """What a binding lives unless another is asked for."""
        return self._rules.lifetime

    async def register(
        self, address: MailAddress, credential: Credential | None, peer: Endpoint, request: Request, now: datetime
    ) -> Registration:
        """Bind the address, or renew its binding. No credential: a claim, where the rules allow claims.

        RegistrationRefused: 401 no or wrong secret, 403 not yours to bind, 404 not enrolled, 409 belongs to
        somebody else, 422 a port or lifetime that is not to be had, 429 too often.
        """
        address = self._current(address)
        self._refuse_mailbox(address)
        if credential is None and self._rules.claim:
            return await self._claim(address, peer, request, now)
        registrant = self._identify(address, credential, peer, now)
        return Registration(await self._bind(address, registrant, peer, request, now))

    async def register_proven(
        self, terminal: Terminal, address: MailAddress, peer: Endpoint, request: Request, now: datetime
    ) -> Binding:
        """The same for a terminal that has proved itself already, as to the directory. 403, 404, 409, 422."""
        self._refuse_mailbox(address)
        registrant = _may_change(terminal, address)
        return await self._bind(address, registrant, peer, request, now)

    def expect_its_own(self, terminal: Terminal, address: MailAddress) -> None:
        """RegistrationRefused (403) where such a terminal may not change that address."""
        _may_change(terminal, address)

    async def unregister_proven(self, terminal: Terminal, address: MailAddress) -> bool:
        """Take the binding away for such a terminal; the address stays known. False: it had none. 403."""
        _may_change(terminal, address)
        return await self._chart.unbind(address)

    async def unregister(
        self, address: MailAddress, credential: Credential | None, peer: Endpoint, now: datetime
    ) -> bool:
        """Take the binding away; the terminal stays known. False: it had none. Refusals: 401, 403, 404, 429."""
        address = self._current(address)
        self._identify(address, credential, peer, now)
        return await self._chart.unbind(address)

    async def hear(
        self, lease: Lease, happened: datetime, credential: Credential | None, peer: Endpoint, now: datetime
    ) -> Heard:
        """What a DHCP server, who speaks for others, says of an address; `happened` is when.

        RegistrationRefused: 401, 403, 429.
        """
        speaker = self._identify(None, credential, peer, now, may_speak=True)
        if ipaddress.ip_address(lease.host).is_loopback and not _is_loopback(peer):
            raise RegistrationRefused(
                f"{lease.host} is the mail server itself; name the address of the lease", http_status=422
            )
        owner = speaker.terminal.address.key if speaker.terminal else ""
        return await self._leases.hear(lease, owner, min(happened, now), now)

    async def learn(self, terminal: Terminal, host: str, local_host: str, now: datetime) -> Binding | None:
        """A terminal has logged in from `host`, at our own address `local_host`: see `learning.learn`.

        RegistrationRefused: 409, 422.
        """
        self._refuse_mailbox(terminal.address)
        self._expect_port(terminal.port)
        lifetime = self._rules.lifetime
        return await learn(self._chart, terminal, host, local_host, now, lifetime=lifetime, dropped=self._dropped)

    async def get(
        self, address: MailAddress, credential: Credential | None, peer: Endpoint, now: datetime
    ) -> Binding:
        """The binding, live or expired, for the terminal itself and those who may change it; nobody else.

        RegistrationRefused: 401, 403, 429; 404 also where the terminal has no binding now.
        """
        address = self._current(address)
        self._identify(address, credential, peer, now)
        entry = await self._chart.look_up(address)
        if entry is None or entry.binding is None:
            raise RegistrationRefused(f"{address} has no binding now; PUT makes one", http_status=404)
        return entry.binding

    def entries(self, credential: Credential | None, peer: Endpoint, now: datetime) -> AsyncIterator[Entry]:
        """The whole chart, for administrators. RegistrationRefused: 401, 403, 429."""
        self._identify(None, credential, peer, now)
        return self._chart.entries()

    def _current(self, address: MailAddress) -> MailAddress:
        """What a terminal is called now that was renamed, for one that has not heard of it yet."""
        if self._accounts.terminal(address) is None and (renamed := self._accounts.renamed(address)):
            return renamed.address
        return address

    def _identify(
        self,
        address: MailAddress | None,
        credential: Credential | None,
        peer: Endpoint,
        now: datetime,
        *,
        may_speak: bool = False,
    ) -> _Registrant:
        """Who asks, if he may do anything with that address (None: with all of them).

        `may_speak`: it is enough that he speaks for others.
        """
        if (wait := self._wrong_secrets.wait(peer.host, now)) is not None:
            raise RegistrationRefused(
                f"too many wrong secrets from {peer.host}; try again in {wait.total_seconds():.0f} s",
                http_status=429,
            )
        if credential is None:
            raise RegistrationRefused("show the secret: Authorization: Bearer SECRET", http_status=401)
        if self._administrator_sha256 and credential.proves(self._administrator_sha256):
            return _Registrant(None)
        own = self._accounts.terminal(address) if address else None
        if own is not None and credential.proves_terminal(own):
            return _Registrant(own)
        if credential.account is not None:
            named = self._accounts.terminal(self._current(credential.account))
            if named is not None and credential.proves_terminal(named):
                return _may_speak(named) if may_speak else _may_change(named, address)
        if address is not None and own is None:
            raise _not_enrolled(address)
        self._wrong_secrets.count(peer.host, now)
        whose = f"of {address}" if address else "of an administrator (see admin.token in the data folder)"
        raise RegistrationRefused(
            f"this is not the secret {whose}; `lanpost terminal rotate ADDRESS` at the server makes a new one",
            http_status=401,
        )

    async def _bind(
        self, address: MailAddress, registrant: _Registrant, peer: Endpoint, request: Request, now: datetime
    ) -> Binding:
        if not registrant.owns(address):
            if request.endpoint is None:
                raise RegistrationRefused(
                    f'whoever speaks for {address} must name its "endpoint", as "10.0.0.7:25"', http_status=422
                )
            # A DHCP server meets every host on the LAN; only terminals that were made known get mail.
            if registrant.terminal and not await self._is_known(address):
                raise _not_enrolled(address)
        binding = self._binding(address, registrant, peer, request, now)
        await self._put_in_force(binding, now)
        return binding

    async def _put_in_force(self, binding: Binding, now: datetime) -> None:
        await make_way(self._chart, binding, now, self._dropped)
        await self._chart.bind(binding)

    def _binding(
        self,
        address: MailAddress,
        registrant: _Registrant,
        peer: Endpoint,
        request: Request,
        now: datetime,
    ) -> Binding:
        if registrant.terminal is None:
            source, owner = Source.ADMINISTRATOR, ""
        else:
            source = Source.AGENT if registrant.owns(address) else Source.DHCP
            owner = registrant.terminal.address.key
        lifetime = self._lifetime(registrant, request)
        expires = None if lifetime is None else now + lifetime
        endpoint = self._endpoint(registrant, peer, request)
        return Binding(address, endpoint, now, expires, source, owner, request.proof)

    def _endpoint(self, registrant: _Registrant, peer: Endpoint, request: Request) -> Endpoint:
        asked = request.endpoint
        if asked is None:
            endpoint = Endpoint(peer.host, request.port or SMTP_PORT, peer.zone)
        elif registrant.is_trusted:
            endpoint = asked
        elif asked.host == peer.host and asked.zone in ("", peer.zone):
            endpoint = Endpoint(peer.host, asked.port, peer.zone)
        else:
            raise RegistrationRefused(
                f"you register from {peer.host} and may not name {asked.host}: leave the endpoint out, or register "
                "from that address",
                http_status=403,
            )
        self._expect_port(endpoint.port)
        if registrant.terminal and _is_loopback(endpoint) and not _is_loopback(peer):
            raise RegistrationRefused(
                f"{endpoint.host} is the mail server itself; name the terminal's address", http_status=422
            )
        return endpoint

    def _expect_port(self, port: int) -> None:
        if port not in self._rules.endpoint_ports:
            allowed = ", ".join(map(str, self._rules.endpoint_ports))
            raise RegistrationRefused(
                f"port {port} is not to be had: [delivery] endpoint_ports allows {allowed}", http_status=422
            )

    def _lifetime(self, registrant: _Registrant, request: Request) -> timedelta | None:
        asked = request.lifetime
        if asked is not None and asked < self._rules.min_lifetime:
            raise RegistrationRefused(
                f"a lifetime has at least {self._rules.min_lifetime.total_seconds():g} s", http_status=422
            )
        if registrant.terminal is None:
            return None if asked is None else min(asked, MAX_LIFETIME)
        return self._rules.lifetime if asked is None else min(asked, self._rules.lifetime)

    async def _claim(self, address: MailAddress, peer: Endpoint, request: Request, now: datetime) -> Registration:
        self._refuse_claim(address, peer, now)
        key = request.key or new_secret(address)
        terminal = Terminal(address, sha256_of(key), now)
        binding = self._binding(address, _Registrant(terminal), peer, request, now)
        self._claiming.add(address)
        try:
            if await self._is_known(address):
                raise _taken(address)
            self._claims.count(peer.host, now)
            # The account is first: a binding that nobody holds the key of would be there for good.
            await self._durably(lambda: self._put_claimed(terminal))
            try:
                await self._put_in_force(binding, now)
            except BaseException:
                await self._durably(lambda: _forget(self._accounts, terminal))
                raise
        finally:
            self._claiming.discard(address)
        return Registration(binding, key)

    def _refuse_claim(self, address: MailAddress, peer: Endpoint, now: datetime) -> None:
        if not is_within(peer.host, self._rules.networks):
            raise RegistrationRefused(
                f"addresses are not given to strangers from {peer.host}: enrol the terminal "
                "(`lanpost terminal add`) or add its network to [registrar] networks",
                http_status=403,
            )
        if address in self._claiming:
            raise _taken(address)
        if self._accounts.terminal(address) is not None:
            raise RegistrationRefused(
                f"{address} is taken; its holder shows the key: Authorization: Bearer KEY", http_status=401
            )
        if _domain_key(address) != self._own_domain or address.key.rpartition("@")[0] in RESERVED:
            raise RegistrationRefused(
                f"{address} is not to be claimed; an administrator can enrol it (`lanpost terminal add`)",
                http_status=403,
            )
        if (wait := self._claims.wait(peer.host, now)) is not None:
            raise RegistrationRefused(
                f"{peer.host} claimed {CLAIMS} addresses within an hour; try again in {wait.total_seconds():.0f} s",
                http_status=429,
            )

    def _put_claimed(self, terminal: Terminal) -> None:
        # Asked again: another process may have enrolled the address while the chart was asked.
        if self._accounts.terminal(terminal.address) or self._accounts.user(terminal.address):
            raise _taken(terminal.address)
        self._accounts.put_terminal(terminal)

    async def _is_known(self, address: MailAddress) -> bool:
        """Enrolled, or in the chart by an administrator's hand, bound or not."""
        if self._accounts.terminal(address) is not None:
            return True
        return await self._chart.look_up(address) is not None

    def _refuse_mailbox(self, address: MailAddress) -> None:
        if self._mailboxes.has(address) or self._accounts.user(address) is not None:
            raise RegistrationRefused(
                f"{address} is a person's mailbox here and cannot be a terminal's address; choose another",
                http_status=409,
            )


def _may_change(terminal: Terminal, address: MailAddress | None) -> _Registrant:
    registrant = _Registrant(terminal)
    if address is not None and (registrant.owns(address) or terminal.speaks_for_others):
        return registrant
    raise RegistrationRefused(
        f"this secret is of {terminal.address}, which may change its own binding and nobody else's; "
        "an administrator's secret may more",
        http_status=403,
    )


def _may_speak(terminal: Terminal) -> _Registrant:
    if terminal.speaks_for_others:
        return _Registrant(terminal)
    raise RegistrationRefused(
        f"{terminal.address} speaks for itself only; a DHCP server's account is made with "
        "`lanpost terminal add NAME --speaks-for-others`",
        http_status=403,
    )


def _not_enrolled(address: MailAddress) -> RegistrationRefused:
    return RegistrationRefused(
        f"{address} is not enrolled here; `lanpost terminal add {address}` at the server does that", http_status=404
    )


def _taken(address: MailAddress) -> RegistrationRefused:
    return RegistrationRefused(f"{address} belongs to somebody else; choose another", http_status=409)


def _forget(accounts: Accounts, terminal: Terminal) -> None:
    accounts.remove_terminal(terminal.address)


def _is_loopback(endpoint: Endpoint) -> bool:
    return ipaddress.ip_address(endpoint.host).is_loopback


def _domain_key(address: MailAddress) -> str:
    return address.key.rpartition("@")[2]
