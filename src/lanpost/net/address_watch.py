"""Watching the host's own addresses: by rtnetlink where there is such a thing, by polling elsewhere.

A DHCP client's hook may say "look" at any time, by touching a file; it is all that moves a watch which neither
hears the kernel nor polls. What a hook knows of addresses is never asked for.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from lanpost.net import netlink
from lanpost.net.file_touch import FileTouch
from lanpost.net.netlink import Change, NetlinkWatch
from lanpost.net.registrar_access import is_lasting, prefer_public

log = logging.getLogger(__name__)

POLL_SECONDS = 3.0
# After a hook's word, where nothing else tells: clients call their hooks before the address can be used
# (duplicate address detection takes a second and more, RFC 4862 §5.4).
FURTHER_LOOKS = (0.5, 1.0, 2.0, 3.0, 5.0)  # seconds, each after the one before
HOOK_PAUSE = 0.1  # seconds from one look to the next, however often hooks call
LINKS = Path("/sys/class/net")


class AddressWatch(Protocol):
    """Tells of changes by the `notify` it was made with, until closed."""

    @property
    def addresses(self) -> frozenset[str]:
        """Own addresses that others can reach us at."""

    def look(self) -> None:
        """Somebody says that there may be news: look now."""

    def close(self) -> None:
        """Stop watching. Idempotent."""


def open_watch(
    notify: Callable[[Change], object],
    servers: Sequence[str],
    hook_file: Path | None = None,
    only_hook: bool = False,
) -> AddressWatch:
    """The best watch that this system has. `servers` are the IPs that we want to be reached from.

    `hook_file` is what hooks touch. `only_hook`: a look at the start and at each touch, nothing else.
    """
    watch = PollWatch(notify, servers, None) if only_hook else _open_watch(notify, servers)
    return HookedWatch(watch, hook_file) if hook_file else watch


def _open_watch(notify: Callable[[Change], object], servers: Sequence[str]) -> AddressWatch:
    if netlink.IS_AVAILABLE:
        try:
            return NetlinkWatch(notify)
        except OSError as error:
            log.warning("no rtnetlink here (%s): looking at the addresses every %g s", error, POLL_SECONDS)
    return PollWatch(notify, servers)


class PollWatch:
    """Asks every few seconds which source address the kernel would take towards each server. Sends nothing.

    `seconds` None: at the start, and when told to look, then a few times more.
    """

    def __init__(
        self, notify: Callable[[Change], object], servers: Sequence[str], seconds: float | None = POLL_SECONDS
    ) -> None:
        self._notify = notify
        self._servers = tuple(servers)
        self._seconds = seconds
        self._further: tuple[float, ...] = FURTHER_LOOKS
        self._addresses: frozenset[str] | None = None  # before the first look
        self._links: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_soon(self._poll)

    @property
    def addresses(self) -> frozenset[str]:
        """The source addresses at the last look."""
        return self._addresses or frozenset()

    def look(self) -> None:
        """Look now."""
        self._timer.cancel()
        self._further = FURTHER_LOOKS
        self._poll()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        self._timer.cancel()

    def _poll(self) -> None:
        if self._seconds is not None:
            self._timer = self._loop.call_later(self._seconds, self._poll)
        elif self._further:
            self._timer = self._loop.call_later(self._further[0], self._poll)
            self._further = self._further[1:]
        found = frozenset(filter(None, map(source_towards, self._servers)))
        links, before = _carriers_seen(), self._links
        self._links = links
        if found != self._addresses:
            self._addresses = found
            self._notify(Change.ADDRESSES)
        if any(count > before.get(name, count) for name, count in links.items()):
            self._notify(Change.LINK_UP)


class HookedWatch:
    """A watch that is told to look when a hook touches its file; a few times a second at most, the last one too."""

    def __init__(self, watch: AddressWatch, hook_file: Path) -> None:
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._resting: asyncio.TimerHandle | None = None
        self._called = False  # while resting
        self._touch = FileTouch(hook_file, self.look)

    @property
    def addresses(self) -> frozenset[str]:
        """Those of the watch."""
        return self._watch.addresses

    def look(self) -> None:
        """Look now, or at the end of the pause since the last look."""
        if self._resting:
            self._called = True
        else:
            self._look()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        self._touch.close()
        if self._resting:
            self._resting.cancel()
        self._watch.close()

    def _look(self) -> None:
        self._called = False
        self._resting = self._loop.call_later(HOOK_PAUSE, self._rested)
        log.debug("a hook says that addresses may have changed")
        self._watch.look()

    def _rested(self) -> None:
        self._resting = None
        if self._called:
            self._look()


def source_towards(server: str) -> str:
    """The address of ours that packets to `server` (an IP literal) would bear; "" when there is no way there."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            server, 9, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            prefer_public(probe)
            probe.connect(where)  # of a datagram socket: asks the routing table, sends nothing
            return str(probe.getsockname()[0]) if is_lasting(probe) else ""
    except OSError:
        return ""


def _carriers_seen() -> dict[str, int]:
    """How often each link has come up so far; empty where Linux does not tell."""
    counts = {}
    try:
        for link in LINKS.iterdir():
            counts[link.name] = int((link / "carrier_up_count").read_text("ascii"))
    except (OSError, ValueError):
        pass
    return counts
