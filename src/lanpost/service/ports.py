"""What the decisions need of the outside: `store` and `net` satisfy these, only `app` sees both.

A port whose methods are `async` may wait for another machine; one whose methods are not answers from this
machine at once, or with a `concurrent.futures.Future` where the disk must be waited for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.delivery import Outcome
from lanpost.model.details import Details
from lanpost.model.device import Device
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Client, Envelope, Recipient
from lanpost.model.queued import QueuedMail
from lanpost.model.reply import Reply


class Chart(Protocol):
    """The whole table of bindings, wherever it is stored.

    Every method raises ChartUnavailable when the chart cannot be asked: that never means "not there". Those that
    write raise InvalidValue for what this kind of chart cannot hold.
    """

    async def look_up(self, address: MailAddress, *, whole: bool = True) -> Entry | None:
        """The inquiry: what is known of an address. None: nobody here has that address.

        Expired bindings are given too; the caller asks `is_live`. Not `whole`: without what is for address books,
        where that is cheaper, as for a mail's way.
        """

    async def bind(self, binding: Binding) -> None:
        """Put a binding in force, durably, in place of the address's former one; the entry is made if need be.

        What the entry says for address books stays.
        """

    async def bind_many(self, bindings: Iterable[Binding], progress: Callable[[int], object] = ...) -> int:
        """Bind all, as fast as the store can; `progress` is told how many are done. Returns their number."""

    async def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool:
        """Take the endpoint away and keep the entry: a known terminal without a binding. False: none was bound.

        `at`: only where it is bound to that very endpoint, and not where it has moved on meanwhile.
        """

    async def add(self, address: MailAddress) -> bool:
        """Make an address known, without a binding. False: it was already."""

    async def describe(self, address: MailAddress, details: Details) -> bool:
        """Replace what the entry says for address books. False: no such address is known."""

    async def remove(self, address: MailAddress) -> bool:
        """Forget an address wholly. False: it was not known."""

    def entries(self, after: str = "") -> AsyncIterator[Entry]:
        """All entries whose key is greater than `after`, by key in ascending order."""

    async def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]:
        """Every binding that names this endpoint."""

    def watch(self) -> AsyncIterator[MailAddress]:
        """The addresses bound from now on, by anybody, in this process or another; a renewal counts.

        Watching starts at the first `anext`. Several changes of one address may be told as one.
        """

    async def close(self) -> None:
        """Let go of whatever is open. Idempotent."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry as it has become; `entry` is None where the address was removed."""

    number: int  # greater than that of every earlier change, of this chart or its process before
    address: MailAddress
    entry: Entry | None


class ChartStore(Protocol):
    """A chart on this machine, for any thread: reads take microseconds, writes wait for the disk.

    Means the same as `Chart`, whose names it uses. Raises StoreError; StoreBusy from a read: in a moment.
    """

    @property
    def file(self) -> Path: ...
    def look_up(self, address: MailAddress) -> Entry | None: ...
    def entries(self, after: str = ..., limit: int = ...) -> Sequence[Entry]:
        """The entries that follow the key `after`; none: that was the last."""

    def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]: ...
    def last_change(self) -> int:
        """The number of the newest change."""

    def version(self) -> int:
        """Another number whenever anybody may have changed anything."""

    def changes_since(self, change: int, limit: int = ...) -> Sequence[tuple[int, MailAddress]]:
        """Addresses bound after that number and still bound, each with its last number, in order."""

    def feed(self, after: int, limit: int = ...) -> Sequence[Change] | None:
        """As `ChangeFeed.changes_after`."""

    def lapsed(self, after: datetime, until: datetime, key: str = ..., limit: int = ...) -> Sequence[Entry]:
        """As `ChangeFeed.lapsed`."""

    def generation(self) -> str:
        """As `ChangeFeed.generation`."""

    def bind(self, binding: Binding) -> None: ...
    def bind_many(self, bindings: Iterable[Binding]) -> int: ...
    def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool: ...
    def add(self, address: MailAddress) -> bool: ...
    def describe(self, address: MailAddress, details: Details) -> bool: ...
    def remove(self, address: MailAddress) -> bool: ...
    def transaction(self) -> AbstractContextManager[None]:
        """What is written inside is durable together when it ends, or not at all."""

    def close(self) -> None: ...


class ChangeFeed(Protocol):
    """Every change of a chart in order, removals too, for those who keep a copy. Raises ChartUnavailable."""

    @property
    def generation(self) -> str:
        """Another word whenever the numbers begin anew, as in a chart that was made anew."""

    async def position(self) -> int:
        """The number of the newest change."""

    async def changes_after(self, number: int, limit: int = ...) -> Sequence[Change] | None:
        """What changed after that number, oldest first; an address that changed several times is told once.

        None: the chart does not remember so long ago; begin anew with all entries.
        """

    async def wait_after(self, number: int) -> None:
        """Return once there may be a change after that number."""

    async def lapsed(self, after: datetime, until: datetime, key: str = ..., limit: int = ...) -> Sequence[Entry]:
        """Whose bindings expired after the one time and not after the other, by that time and their keys.

        Nobody changes an entry when its binding expires, so that has no number. With `key`: what follows the
        entry of that key that expired at `after`.
        """


class Accounts(Protocol):
    """Terminals and people, on this machine. Raises StoreError."""

    def terminal(self, address: MailAddress) -> Terminal | None: ...
    def terminal_of(self, device: Device) -> Terminal | None:
        """Whose machine that is: by hardware address, else by client identifier, else by host name."""

    def terminals(self) -> Iterator[Terminal]: ...
    def terminal_count(self) -> int: ...
    def put_terminal(self, terminal: Terminal) -> None:
        """Durable on return; replaces the terminal of that address. No other may have its machine's names."""

    def rename_terminal(self, address: MailAddress, terminal: Terminal) -> bool:
        """Put `terminal` in the place of that of `address`, which leads to it from now on. False: there is none."""

    def renamed(self, address: MailAddress) -> Terminal | None:
        """The terminal whose former address that is."""

    def remove_terminal(self, address: MailAddress) -> bool: ...
    def user(self, address: MailAddress) -> User | None: ...
    def users(self) -> Iterator[User]: ...
    def put_user(self, user: User) -> None:
        """Durable on return; replaces the user of that address."""

    def remove_user(self, address: MailAddress) -> bool: ...


class Mailboxes(Protocol):
    """Where people's mail is stored."""

    def has(self, address: MailAddress) -> bool:
        """That person has a mailbox here. Asked for every recipient: microseconds."""

    def deliver(self, address: MailAddress, content: Iterable[bytes]) -> Future[None]:
        """Store one mail durably; done when file and folder are on disk.

        `content` is the final text with bare CRLF lines, not dot-stuffed. The Future raises StoreFull when the
        mailbox is over its quota or the disk is full, StoreError otherwise.
        """


class Spool(Protocol):
    """Mail accepted and not yet handed on."""

    def put(self, mail: QueuedMail, content: Sequence[bytes]) -> Future[None]:
        """Make a mail durable. Its chunks are kept as they are: CRLF lines, dot-stuffed, no terminator.

        Done after the fsync that it shares with whatever else waits. StoreFull, StoreError.
        """

    def update(self, mail: QueuedMail) -> None:
        """Replace what is known of a mail that was put; on disk with the next commit."""

    def remove(self, mail_id: str) -> None:
        """Forget a mail that is done with; on disk with the next commit. Unknown ids are ignored."""

    def get(self, mail_id: str) -> QueuedMail | None: ...
    def mails(self) -> Iterator[QueuedMail]:
        """Every mail held now, oldest first. Right after opening: exactly what the last process left."""

    def content(self, mail_id: str) -> Future[Iterator[bytes]]:
        """The content as it was put, in chunks of at most 64 KiB or as they were put. KeyError if unknown."""

    def close(self) -> None:
        """Commit what waits and let go. Idempotent."""


class ContentReader(Protocol):
    """A mail's content while, perhaps, it is still being received."""

    @property
    def size_octets(self) -> int | None:
        """Octets of the whole, dot-stuffed; None while it still grows."""

    async def read(self) -> bytes:
        """The next chunk: CRLF lines, dot-stuffed, no terminator; b"" at the end, once and for all.

        Waits while the mail grows. ContentAborted: it will never be complete, the endpoint must not get its end.
        """


class Sender(Protocol):
    """Hands mails on by SMTP, straight to an IP."""

    async def send(self, endpoint: Endpoint, envelope: Envelope, content: ContentReader) -> Sequence[Outcome]:
        """One attempt for all of the envelope's recipients; an outcome for each, in their order.

        Raises DeliveryError where the connection failed before the endpoint had given its verdict on the
        content, ContentAborted where `content` did. Cancelling drops the connection before the end of data.
        """

    async def close(self) -> None:
        """Close idle connections politely, drop the others."""


class MailTransaction(Protocol):
    """One mail on its way in, from MAIL to the answer to its end of data."""

    async def add_recipient(self, recipient: Recipient) -> Reply:
        """The answer to RCPT; a positive one makes it a recipient."""

    def start_content(self) -> Reply | None:
        """Before 354: None to go on, or the reply that refuses. Waits for nobody."""

    def write(self, chunk: bytes) -> Future[None] | None:
        """More content: CRLF lines, dot-stuffed, no terminator. A Future: read no more until it is done."""

    async def finish(self) -> Reply:
        """The answer to the end of data. Positive only when every copy is accepted further on or durable."""

    def abort(self) -> None:
        """The client left, or reset. Not after `finish`."""


class Intake(Protocol):
    """What a listener does with the mail that comes in."""

    async def authenticate(self, client: Client, login: str, password: str) -> Reply:
        """235 for the right password, 535 5.7.8 for a wrong one, 454 4.7.0 where it cannot be told now."""

    def begin(self, client: Client, envelope: Envelope) -> MailTransaction | Reply:
        """MAIL: `envelope` has no recipients yet. A transaction, or the reply that refuses. Waits for nobody."""


class MailboxSession(Protocol):
    """One mailbox as one POP3 session sees it: the mails there at the start, numbered from 0.

    Raises StoreError where a mail cannot be read.
    """

    def sizes(self) -> Sequence[int]:
        """Octets of each mail with CRLF line ends."""

    def unique_ids(self) -> Sequence[str]:
        """Each mail's UIDL (RFC 1939 §7): the same for ever, 1 to 70 visible characters."""

    def chunks(self, index: int) -> Iterator[bytes]:
        """The mail, with CRLF line ends, not dot-stuffed, in chunks of at most 64 KiB."""

    def delete(self, indexes: Iterable[int]) -> None:
        """Remove mails, durably on return."""

    def close(self) -> None:
        """Give the mailbox free for the next session. Idempotent."""


Durably = Callable[[Callable[[], None]], Awaitable[None]]  # runs a write that waits for the disk off the event loop


class Clock(Protocol):
    """Time as an argument: only `app` passes the real one."""

    def __call__(self) -> datetime: ...
