"""SMTP logins of terminals that run no agent, told to the registrar beside the session: no login waits for that."""

from __future__ import annotations

import asyncio

import structlog

from lanpost.errors import LanpostError
from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Client
from lanpost.net.api import log_registered
from lanpost.service.ports import Clock
from lanpost.service.registrar import Registrar

log = structlog.get_logger()


class LoginLearning:
    """For one event loop. Of a terminal one login is learnt from at a time; those that come meanwhile are not."""

    def __init__(self, registrar: Registrar, clock: Clock) -> None:
        self.registrar = registrar
        self._clock = clock
        self._under_way: dict[MailAddress, asyncio.Task[None]] = {}

    def note(self, client: Client, account: User | Terminal) -> None:
        """That account has just proved itself in that session."""
        if not isinstance(account, Terminal) or not account.learn or account.address in self._under_way:
            return
        task = asyncio.get_running_loop().create_task(self._learn(client, account))
        self._under_way[account.address] = task
        task.add_done_callback(lambda _: self._under_way.pop(account.address, None))

    async def close(self) -> None:
        """Wait for what is being written. Idempotent."""
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _learn(self, client: Client, terminal: Terminal) -> None:
        try:
            binding = await self.registrar.learn(terminal, client.host, client.local_host, self._clock())
        except LanpostError as error:
            log.warning("login not learnt from", address=str(terminal.address), client=client.host, why=str(error))
        except Exception:
            log.exception("login not learnt from")
        else:
            if binding is not None:
                log_registered(binding, client.host)
