"""The queue for `lanpost queue`: of the running server where there is one, else its files, locked meanwhile.

Raises LanpostError: ServerNotRunning for what only a server can do, StoreBusy where one runs but does not answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from lanpost.app.control import CONTROL_SOCKET, no_such_mail
from lanpost.app.queue_view import describe
from lanpost.content.trace import worker_of
from lanpost.errors import ServerNotRunning
from lanpost.model.queued import QueuedMail
from lanpost.net.control import ask
from lanpost.store import formats
from lanpost.store.spool import JournalSpool

Result = TypeVar("Result")

SPOOL_FOLDER = "spool"  # in `data`; a folder for each worker in it
# Of a running server, as its status says it; anything else is why it takes no mail though it runs.
STARTING, READY, STOPPING = "starting", "ready", "stopping"
WORKER_SOCKETS = "control-*.sock"  # of the further processes


class QueueAccess:
    """`data` as in the settings."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def mails(self) -> Iterator[dict[str, Any]]:
        """Every waiting mail, oldest first."""
        try:
            yield from sorted(self._ask_all("list"), key=itemgetter("arrived", "id"))
        except ServerNotRunning:
            found: list[QueuedMail] = []
            for folder in self._folders():
                with closing(JournalSpool(folder)) as spool:
                    found += spool.mails()
            yield from map(describe, sorted(found, key=lambda mail: (mail.arrived, mail.id)))

    def show(self, mail_id: str) -> dict[str, Any]:
        try:
            shown: dict[str, Any] = next(self._ask_for(mail_id, "show"))
        except ServerNotRunning:
            return self._in_files(mail_id, lambda _, mail: describe(mail))
        return shown

    def retry(self, mail_id: str | None) -> int:
        """How many are tried now. Only a running server can: ServerNotRunning."""
        if mail_id is None:
            return sum(self._ask_all("retry"))
        return int(next(self._ask_for(mail_id, "retry")))

    def hold(self, mail_id: str) -> None:
        try:
            deque(self._ask_for(mail_id, "hold"))
        except ServerNotRunning:
            self._in_files(mail_id, lambda spool, mail: spool.update(replace(mail, frozen=True)))

    def remove(self, mail_id: str) -> None:
        try:
            deque(self._ask_for(mail_id, "remove"))
        except ServerNotRunning:
            self._in_files(mail_id, lambda spool, mail: spool.remove(mail.id))

    def _ask_all(self, what: str) -> Iterator[Any]:
        """Every process of the server, the first one first."""
        yield from ask(self._data / CONTROL_SOCKET, f"queue {what}")
        for path in sorted(self._data.glob(WORKER_SOCKETS)):
            # One that has just ended is started again; its mail is told of then.
            with suppress(ServerNotRunning):
                yield from ask(path, f"queue {what}")

    def _ask_for(self, mail_id: str, what: str) -> Iterator[Any]:
        """The process that has the mail; the mail's id tells which."""
        worker = worker_of(mail_id)
        name = f"control-{worker}.sock" if worker else CONTROL_SOCKET
        if worker and not (self._data / name).exists():
            name = CONTROL_SOCKET  # it was taken over
        return ask(self._data / name, f"queue {what}", id=mail_id)

    def _folders(self) -> Sequence[Path]:
        """Each worker's spool. StoreError: they are of another version's format."""
        if folders := sorted((self._data / SPOOL_FOLDER).glob("*/")):
            formats.require(self._data)
        return folders

    def _in_files(self, mail_id: str, work: Callable[[JournalSpool, QueuedMail], Result]) -> Result:
        """Perform on the mail's own spool; what is changed is on disk on return."""
        for folder in self._folders():
            with closing(JournalSpool(folder)) as spool:
                if (mail := spool.get(mail_id)) is not None:
                    return work(spool, mail)
        raise no_such_mail(mail_id)


def server_status(data: Path) -> dict[str, Any]:
    """What the running server says of itself. ServerNotRunning."""
    status: dict[str, Any] = next(ask(data / CONTROL_SOCKET, "status"))
    return status
