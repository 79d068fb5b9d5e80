"""The administrator's side of enrolment: terminals are added, listed, given a new secret, removed.

Raises RegistrationRefused (409 taken, 404 not enrolled), ChartUnavailable and StoreError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from lanpost.errors import RegistrationRefused
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.device import UNKNOWN_DEVICE, Device
from lanpost.model.endpoint import SMTP_PORT
from lanpost.service.credentials import new_secret, sha256_of
from lanpost.service.ports import Accounts, Chart

_NAMES = {"mac": "hardware address", "client_id": "client identifier", "hostname": "host name"}


@dataclass(frozen=True, slots=True)
class Traits:
    """How others may say where a terminal is that says nothing itself."""

    device: Device = UNKNOWN_DEVICE
    learn: bool = False
    port: int = SMTP_PORT


NO_TRAITS = Traits()


@dataclass(frozen=True, slots=True)
class TerminalState:
    """An enrolled terminal and where it is, as far as the chart knows."""

    terminal: Terminal
    binding: Binding | None

    def word(self, now: datetime) -> str:
        """`live`, `expired` or `none`."""
        if self.binding is None:
            return "none"
        return "live" if self.binding.is_live(now) else "expired"


class Terminals:
    """Enrolled terminals: an account with a secret each, and a place in the chart."""

    def __init__(self, chart: Chart, accounts: Accounts) -> None:
        self._chart = chart
        self._accounts = accounts

    async def add(
        self,
        address: MailAddress,
        now: datetime,
        *,
        speaks_for_others: bool = False,
        traits: Traits = NO_TRAITS,
    ) -> str:
        """Enrol a terminal. Returns its secret, which is stored nowhere."""
        if self._accounts.user(address) is not None:
            raise RegistrationRefused(
                f"{address} is a person's mailbox here and cannot be a terminal's address; choose another, or "
                f"remove the mailbox first (`lanpost user remove {address}`)",
                http_status=409,
            )
        if self._accounts.terminal(address) is not None:
            raise RegistrationRefused(
                f"{address} is enrolled already; `lanpost terminal rotate {address}` makes it a new token",
                http_status=409,
            )
        self._refuse_anothers(traits.device, address)
        secret = new_secret(address)
        self._accounts.put_terminal(
            Terminal(address, sha256_of(secret), now, speaks_for_others, traits.device, traits.learn, traits.port)
        )
        try:
            await self._chart.add(address)
        except BaseException:
            self._accounts.remove_terminal(address)
            raise
        return secret

    async def knows(self, address: MailAddress) -> bool:
        """The chart has it, enrolled or not."""
        return await self._chart.look_up(address) is not None

    async def undo_add(self, address: MailAddress, *, was_known: bool) -> None:
        """Forget a terminal that was enrolled just now; what the chart `was_known` to have stays there."""
        self._accounts.remove_terminal(address)
        if not was_known:
            await self._chart.remove(address)

    async def rotate(self, address: MailAddress) -> str:
        """Give the terminal a new secret; the old one is worth nothing from now on. Its binding stays."""
        secret = new_secret(address)
        self._accounts.put_terminal(replace(self._enrolled(address), secret_sha256=sha256_of(secret)))
        await self._chart.add(address)
        return secret

    def set(self, address: MailAddress, change: Callable[[Traits], Traits]) -> Terminal:
        """Change how others may say where the terminal is; its secret and its binding stay."""
        terminal = self._enrolled(address)
        traits = change(Traits(terminal.device, terminal.learn, terminal.port))
        self._refuse_anothers(traits.device, address)
        changed = replace(terminal, device=traits.device, learn=traits.learn, port=traits.port)
        self._accounts.put_terminal(changed)
        return changed

    def _refuse_anothers(self, device: Device, address: MailAddress) -> None:
        for name, shown in _NAMES.items():
            value = getattr(device, name)
            other = self._accounts.terminal_of(Device(**{name: value}))
            if other is not None and other.address != address:
                raise RegistrationRefused(
                    f"{value} is the {shown} of {other.address} already; `lanpost terminal set {other.address} "
                    f"--no-{name.replace('_', '-')}` takes it away there",
                    http_status=409,
                )

    async def rename(self, address: MailAddress, new: MailAddress) -> Terminal:
        """Give the terminal another address; its secret stays good, under the old one too, until it has heard.

        Its binding and what the chart says of it go along. 409 where the new address is somebody's.
        """
        terminal = self._enrolled(address)
        if self._accounts.terminal(new) is not None or self._accounts.user(new) is not None:
            raise RegistrationRefused(f"{new} is somebody's here already; choose another", http_status=409)
        if await self.knows(new):
            raise RegistrationRefused(
                f"{new} is in the chart already; `lanpost chart remove {new}` first", http_status=409
            )
        renamed = replace(terminal, address=new)
        entry = await self._chart.look_up(address)
        await self._chart.add(new)
        try:
            if entry is not None and entry.details:
                await self._chart.describe(new, entry.details)
            if entry is not None and (binding := entry.binding) is not None:
                owner = new.key if binding.owner == address.key else binding.owner
                await self._chart.bind(replace(binding, address=new, owner=owner))
            if not self._accounts.rename_terminal(address, renamed):
                self._enrolled(address)  # somebody has just removed it
        except BaseException:
            await self._chart.remove(new)
            raise
        await self._chart.remove(address)
        return renamed

    async def remove(self, address: MailAddress) -> None:
        """Forget the terminal, its secret and its place in the chart."""
        terminal = self._enrolled(address)
        # The account first, or the terminal could bind itself anew in between.
        self._accounts.remove_terminal(address)
        try:
            await self._chart.remove(address)
        except BaseException:
            self._accounts.put_terminal(terminal)
            raise

    async def state(self, address: MailAddress) -> TerminalState:
        """One terminal and where it is."""
        return await self._state(self._enrolled(address))

    async def states(self) -> AsyncIterator[TerminalState]:
        """All of them."""
        for terminal in self._accounts.terminals():
            yield await self._state(terminal)

    async def _state(self, terminal: Terminal) -> TerminalState:
        entry = await self._chart.look_up(terminal.address)
        return TerminalState(terminal, entry.binding if entry else None)

    def _enrolled(self, address: MailAddress) -> Terminal:
        terminal = self._accounts.terminal(address)
        if terminal is None:
            raise RegistrationRefused(
                f"{address} is not enrolled here; `lanpost terminal list` shows who is",
                http_status=404,
            )
        return terminal
