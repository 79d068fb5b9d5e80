"""The terminal's answer to refresh requests: whether one is obeyed, and when.

The last one is in `<data>/agent/refresh.json` before anything is done about it, so that none is obeyed twice,
whatever restarts. Standard library only; `cryptography` is loaded when there is a signature to check, and without
it no request is believed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path

from lanpost.errors import InvalidRefresh
from lanpost.model.address import MailAddress
from lanpost.net.refresh_listener import RefreshListener
from lanpost.service.refresh_guard import Accepted, RefreshGuard
from lanpost.store.files import replace_file
from lanpost.wire.refresh import SignedRefresh, server_id

log = logging.getLogger(__name__)

FILE = "refresh.json"


class AgentRefresh:
    """Listens until closed. `answer_in(seconds)` is called for a request that is to be obeyed."""

    def __init__(self, folder: Path, port: int, answer_in: Callable[[float], object]) -> None:
        self._file = folder / FILE
        self._answer_in = answer_in
        self._key = b""
        self._address: MailAddress | None = None
        self._guard: RefreshGuard | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._storing = asyncio.Lock()
        self._told: set[str] = set()
        self.last_datagram = b""  # the genuine one that was obeyed last
        self._listener: RefreshListener | None = None
        try:
            self._listener = RefreshListener(port, self._heard)
        except OSError as error:
            log.warning("no refresh request can be heard at UDP port %d: %s", port, error.strerror or error)

    def use(self, public_key: bytes, address: MailAddress) -> None:
        """Obey the registrar with this key (empty: none), as this terminal. Cheap where both are the same."""
        if (public_key, address) == (self._key, self._address):
            return
        self._key, self._address = public_key, address
        self._guard, self.last_datagram = None, b""
        if public_key:
            self.last_datagram = self._stored(public_key)
            last = (0, 0)
            if self.last_datagram:
                last = SignedRefresh.read(self.last_datagram).request.number
            self._guard = RefreshGuard(public_key, address.key, last, self._verify)

    def links_changed(self) -> None:
        """There may be an interface that was not there before."""
        if self._listener is not None:
            self._listener.join()

    async def close(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _heard(self, datagram: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if self._guard is None or (accepted := self._guard.take(datagram, now)) is None:
            return
        delay = self._guard.answer_in(accepted.window, now, random.random())  # noqa: S311
        task = asyncio.ensure_future(self._obey(accepted, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _obey(self, accepted: Accepted, delay: float | None) -> None:
        try:
            async with self._storing:
                await asyncio.to_thread(self._store, accepted.datagram)
        except OSError as error:
            # Obeyed all the same: at worst it is obeyed once more after a restart.
            log.warning("cannot write %s: %s", self._file, error.strerror or error)
        self.last_datagram = accepted.datagram
        if delay is not None:
            log.info("the registrar asks for a registration: in %.1f s", delay)
            self._answer_in(delay)

    def _store(self, datagram: bytes) -> None:
        document = {"version": 1, "datagram": base64.b64encode(datagram).decode("ascii")}
        replace_file(self._file, json.dumps(document).encode() + b"\n")

    def _stored(self, public_key: bytes) -> bytes:
        """The last request of that registrar; empty if there was none."""
        try:
            document = json.loads(self._file.read_text("utf-8"))
            datagram = base64.b64decode(document["datagram"], validate=True)
            is_its = SignedRefresh.read(datagram).request.server == server_id(public_key)
        except FileNotFoundError:
            return b""
        except (OSError, ValueError, LookupError, TypeError, InvalidRefresh) as error:
            log.warning("%s cannot be read (%s): taken as empty", self._file, error)
            return b""
        return datagram if is_its else b""

    def _verify(self, signature: bytes, signed: bytes) -> bool:
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError:
            self._tell_once("refresh requests are not believed: there is no `cryptography` here to check them with")
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self._key).verify(signature, signed)
        except (InvalidSignature, ValueError):
            self._tell_once("refresh requests with a wrong signature come in; they are ignored")
            return False
        return True

    def _tell_once(self, text: str) -> None:
        """Whoever floods us does not fill the log, too."""
        if text not in self._told:
            self._told.add(text)
            log.warning("%s", text)
