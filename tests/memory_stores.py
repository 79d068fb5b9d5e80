"""Chart, accounts and mailboxes in memory, for tests of what decides on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace

from lanpost.errors import ChartUnavailable
from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import NO_DETAILS, Details
from lanpost.model.device import Device
from lanpost.model.endpoint import Endpoint


class MemoryChart:
    """A `Chart`. While `is_down`, nothing can be asked."""

    def __init__(self) -> None:
        self.known: dict[MailAddress, Entry] = {}
        self.is_down = False

    async def look_up(self, address: MailAddress, *, whole: bool = True) -> Entry | None:
        self._answer()
        return self.known.get(address)

    async def bind(self, binding: Binding) -> None:
        self._answer()
        former = self.known.get(binding.address)
        self.known[binding.address] = Entry(binding.address, binding, former.details if former else NO_DETAILS)

    async def bind_many(
        self, bindings: Iterable[Binding], progress: Callable[[int], object] = lambda _: None
    ) -> int:
        count = 0
        for count, binding in enumerate(bindings, 1):
            await self.bind(binding)
            progress(count)
        return count

    async def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool:
        self._answer()
        entry = self.known.get(address)
        if entry is None or entry.binding is None or at not in (None, entry.binding.endpoint):
            return False
        self.known[address] = Entry(address, None, entry.details)
        return True

    async def add(self, address: MailAddress) -> bool:
        self._answer()
        is_new = address not in self.known
        self.known.setdefault(address, Entry(address))
        return is_new

    async def describe(self, address: MailAddress, details: Details) -> bool:
        self._answer()
        if (entry := self.known.get(address)) is None:
            return False
        self.known[address] = replace(entry, details=details)
        return True

    async def remove(self, address: MailAddress) -> bool:
        self._answer()
        return self.known.pop(address, None) is not None

    async def entries(self, after: str = "") -> AsyncIterator[Entry]:
        self._answer()
        for entry in sorted(self.known.values(), key=lambda entry: entry.address.key):
            if entry.address.key > after:
                yield entry

    async def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]:
        self._answer()
        return [
            entry.binding for entry in self.known.values() if entry.binding and entry.binding.endpoint == endpoint
        ]

    async def watch(self) -> AsyncIterator[MailAddress]:
        nobody: tuple[MailAddress, ...] = ()
        for address in nobody:
            yield address

    async def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.is_down:
            raise ChartUnavailable("the chart is down")


class MemoryAccounts:
    """An `Accounts`."""

    def __init__(self) -> None:
        self.by_terminal: dict[MailAddress, Terminal] = {}
        self.by_user: dict[MailAddress, User] = {}
        self.former: dict[MailAddress, MailAddress] = {}

    def terminal(self, address: MailAddress) -> Terminal | None:
        return self.by_terminal.get(address)

    def terminal_of(self, device: Device) -> Terminal | None:
        for name in ("mac", "client_id", "hostname"):
            for terminal in self.by_terminal.values():
                if getattr(device, name) and getattr(terminal.device, name) == getattr(device, name):
                    return terminal
        return None

    def terminals(self) -> Iterator[Terminal]:
        return iter(list(self.by_terminal.values()))

    def terminal_count(self) -> int:
        return len(self.by_terminal)

    def put_terminal(self, terminal: Terminal) -> None:
        self.by_terminal[terminal.address] = terminal

    def rename_terminal(self, address: MailAddress, terminal: Terminal) -> bool:
        if self.by_terminal.pop(address, None) is None:
            return False
        self.by_terminal[terminal.address] = terminal
        self.former[address] = terminal.address
        return True

    def renamed(self, address: MailAddress) -> Terminal | None:
        return self.by_terminal.get(self.former.get(address, address))

    def remove_terminal(self, address: MailAddress) -> bool:
        return self.by_terminal.pop(address, None) is not None

    def user(self, address: MailAddress) -> User | None:
        return self.by_user.get(address)

    def users(self) -> Iterator[User]:
        return iter(list(self.by_user.values()))

    def put_user(self, user: User) -> None:
        self.by_user[user.address] = user

    def remove_user(self, address: MailAddress) -> bool:
        return self.by_user.pop(address, None) is not None


class MemoryMailboxes:
    """A `Mailboxes` that knows who has one."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = {MailAddress.parse(address) for address in addresses}

    def has(self, address: MailAddress) -> bool:
        return address in self.addresses

    def deliver(self, address: MailAddress, content: Iterable[bytes]) -> Future[None]:
        raise NotImplementedError
