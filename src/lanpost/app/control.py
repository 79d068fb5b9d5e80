"""What the running server does for commands on its own machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lanpost.app.queue_runner import QueueRunner
from lanpost.app.queue_view import describe
from lanpost.errors import LanpostError
from lanpost.net.control import Command, ControlListener

CONTROL_SOCKET = "control.sock"  # in `data`


class ControlServer:
    """The control socket of a server: its queue, its status, and what else `more` adds by name."""

    def __init__(
        self,
        path: Path,
        queue: QueueRunner,
        status: Callable[[], dict[str, Any]],
        more: Mapping[str, Command] | None = None,
    ) -> None:
        self._queue = queue
        self._status = status
        commands: dict[str, Command] = {
            "status": self._show_status,
            "queue list": self._list,
            "queue show": self._show,
            "queue retry": self._retry,
            "queue hold": self._hold,
            "queue remove": self._remove,
        }
        self._listener = ControlListener(path, commands | dict(more or {}))

    async def start(self) -> None:
        """Listen. StoreError where the socket cannot be made."""
        await self._listener.start()

    async def stop(self) -> None:
        await self._listener.stop()

    async def _show_status(self, _arguments: Mapping[str, Any]) -> Iterable[Any]:
        return [self._status()]

    async def _list(self, _arguments: Mapping[str, Any]) -> Iterable[Any]:
        return (describe(mail, self._queue.under_way(mail.id)) for mail in self._queue.list())

    async def _show(self, arguments: Mapping[str, Any]) -> Iterable[Any]:
        mail = self._queue.show(str(arguments.get("id")))
        if mail is None:
            raise no_such_mail(str(arguments.get("id")))
        return [describe(mail, self._queue.under_way(mail.id))]

    async def _retry(self, arguments: Mapping[str, Any]) -> Iterable[Any]:
        mail_id = arguments.get("id")
        count = self._queue.retry(None if mail_id is None else str(mail_id))
        if mail_id is not None and not count:
            raise no_such_mail(str(mail_id))
        return [count]

    async def _hold(self, arguments: Mapping[str, Any]) -> Iterable[Any]:
        if not self._queue.hold(str(arguments.get("id"))):
            raise no_such_mail(str(arguments.get("id")))
        return ()

    async def _remove(self, arguments: Mapping[str, Any]) -> Iterable[Any]:
        if not self._queue.remove(str(arguments.get("id"))):
            raise no_such_mail(str(arguments.get("id")))
        return ()


def no_such_mail(mail_id: str) -> LanpostError:
    return LanpostError(f"no mail {mail_id} is waiting; `lanpost queue list` shows those that are")
