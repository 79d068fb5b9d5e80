"""A server's listening sockets go over to the process after it, so that whoever connects in between waits.

Under systemd its store keeps them (sd_notify(3), FDSTORE) while the service is restarted. Without it the process
becomes its successor, in place: SIGUSR2 ends it as SIGTERM does, and then it executes itself anew.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

import structlog

from lanpost.app.readiness import notify
from lanpost.net.listening_sockets import Listen, ListeningSockets, hand_on, handed_sockets

log = structlog.get_logger()


class Succession:
    """The sockets of one server: from the process before, to the one after. Knows when this one is to end."""

    def __init__(self) -> None:
        self.sockets = ListeningSockets({})
        self.ends = asyncio.Event()
        self.starts_again = False  # in place, once this run is over

    def heed_signals(self, loop: asyncio.AbstractEventLoop, *, further: bool = False) -> None:
        """SIGTERM and SIGINT end this run, SIGUSR2 ends it and begins anew. A `further` process begins nothing."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        # What is sent to all processes is for the first alone.
        loop.add_signal_handler(signal.SIGUSR2, (lambda: None) if further else self._begin_anew)

    def _end(self) -> None:
        self.starts_again = False  # also where a new beginning was under way
        self.ends.set()

    def _begin_anew(self) -> None:
        self.starts_again = True
        self.ends.set()

    def begin(
        self, services: Mapping[str, Sequence[Listen]], *, processes: int = 1, alone: Collection[str] = ()
    ) -> ListeningSockets:
        """Take over what was handed to us, open the rest. Arguments and errors: see `ListeningSockets.open`."""
        handed = handed_sockets(os.environ)
        self.sockets = ListeningSockets.open(services, handed, processes=processes, alone=alone)
        for name in self.sockets.dropped:
            notify("FDSTOREREMOVE=1", f"FDNAME={name}")
        if handed:
            log.info("listening sockets taken over", count=len(handed), closed=len(self.sockets.dropped))
        return self.sockets

    def begin_further(self) -> ListeningSockets:
        """The same in a further process, which gets all of its sockets from the first."""
        self.sockets = ListeningSockets(handed_sockets(os.environ))
        return self.sockets

    def keep(self) -> None:
        """Give them to systemd's store, once they listen: a socket that is only bound counts as hung up."""
        for name, sock in self.sockets.named.items():
            notify("FDSTORE=1", f"FDNAME={name}", descriptor=sock.fileno())

    def end(self) -> None:
        """Close ours, unless this process goes on with them: who comes now is refused, if nobody else keeps them.

        Idempotent.
        """
        if not self.starts_again:
            self.sockets.close()

    def start_again(self) -> NoReturn:
        """Become the program anew, as it was started, with these sockets. The event loop is closed by now."""
        for descriptor in hand_on(self.sockets.named, os.environ):
            os.set_inheritable(descriptor, True)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - ourselves, with the arguments that we were given
