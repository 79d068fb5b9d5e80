"""The agent: on the terminal, watches its own addresses and registers them, for ever.

Enrolled with a server, or with nothing but its name (`registrar_way`), it registers at the start, at each change
of its addresses once that has settled, when a link comes up, and at half the lifetime; it tries again for ever, at
once when the network changes. Standard library only, as long as it takes no mail itself (`receive`) and searches no
link: it is carried to small devices.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from lanpost.app import agent_state, enrolment, readiness
from lanpost.app.agent_refresh import AgentRefresh
from lanpost.app.agent_state import State, Status
from lanpost.app.own_proof import OwnProof
from lanpost.app.registrar_way import RegistrarWay
from lanpost.app.settings import Settings
from lanpost.errors import (
    ConfigurationError,
    LanpostError,
    RegistrarUnreachable,
    RegistrarUntrusted,
    RegistrationRefused,
    StoreError,
)
from lanpost.model.address import MailAddress
from lanpost.model.proof import Proof
from lanpost.model.registration import Registration
from lanpost.net.address_watch import open_watch
from lanpost.net.netlink import Change
from lanpost.net.own_addresses import own_addresses
from lanpost.service.renewal import Renewal
from lanpost.store import formats

log = logging.getLogger(__name__)

FIRST_LOOK_SECONDS = 0.5  # what the kernel needs to list our addresses is a hundredth of this
LONGEST_SETTLE_SECONDS = 1.0  # addresses that never stop changing are registered all the same
GOODBYE_SECONDS = 3.0  # a shutdown does not wait longer for the server


class MailService(Protocol):
    """Takes mail on the terminal while the agent runs."""

    @property
    def proof(self) -> Proof:
        """What the mail server knows it by."""

    async def stop(self) -> None:
        """Let clients finish, and stop."""


StartService = Callable[[Settings, MailAddress, Path], Awaitable[MailService]]


class Agent:
    """One terminal's agent. `run` lasts until `stop`; `read_settings` is called at each `reload`.

    `on_status` hears of each change of the status, and of each renewal. `start_service`: what takes mail here, in
    the place of what `[agent] receive` says.
    """

    def __init__(
        self,
        settings: Settings,
        read_settings: Callable[[], Settings],
        on_status: Callable[[Status], object] = lambda _: None,
        start_service: StartService | None = None,
    ) -> None:
        self._settings = settings
        self._read_settings = read_settings
        self._on_status = on_status
        self._special_service = start_service
        formats.claim(settings.data)
        self._folder = enrolment.agent_folder(settings.data)
        self._way = RegistrarWay(self._folder, settings.agent)
        self._renewal = Renewal()
        self._addresses: frozenset[str] = frozenset()
        self._woken = asyncio.Event()
        self._link_up = False
        self._reload = False
        self._stopping = False
        self._serving: tuple[object, ...] = ()
        self._service: MailService | None = None
        self._own_proof = OwnProof()
        self._status = Status(State.STARTING, self._way.address, _now(), pin=self._way.pin, pid=os.getpid())

    @property
    def status(self) -> Status:
        """Where the terminal stands now."""
        return self._status

    def stop(self) -> None:
        """Say goodbye if that is set, and end `run`."""
        self._stopping = True
        self._woken.set()

    def reload(self) -> None:
        """Read configuration and enrolment again, and register anew."""
        self._reload = True
        self._woken.set()

    async def run(self) -> None:
        """Keep the terminal registered until stopped. Raises StoreBusy if another agent has this folder."""
        with agent_state.only_agent(self._folder):
            self._service = await self._start_service()
            ways, servers = self._settings.agent, self._way.hosts
            self._watch = open_watch(self._noticed, servers, ways.hook_file, only_hook=ways.watch == "hook")
            self._refresh = AgentRefresh(self._folder, self._settings.agent.refresh_port, self._asked_to_register)
            self._obey_registrar()
            alive = asyncio.ensure_future(readiness.tell_alive())
            try:
                await self._tell(self._status)
                readiness.notify("READY=1")  # it is at work, whether or not a server is there
                await self._woken_within(FIRST_LOOK_SECONDS)
                await self._settle()
                while not self._stopping:
                    if self._reload:
                        with readiness.reloading():
                            await self._reload_all()
                    await self._interruptible(self._attempt())
                    while not await self._is_due():
                        pass
                readiness.notify("STOPPING=1")
                if self._settings.agent.goodbye:
                    await self._say_goodbye()
            finally:
                alive.cancel()
                self._watch.close()
                await self._refresh.close()
                if self._service:
                    await self._service.stop()
                await self._tell(replace(self._status, state=State.STOPPED, since=_now()))

    def _noticed(self, change: Change) -> None:
        self._link_up |= change is Change.LINK_UP
        self._refresh.links_changed()
        self._woken.set()

    def _asked_to_register(self, delay: float) -> None:
        self._renewal.asked(asyncio.get_running_loop().time(), delay)
        self._woken.set()

    def _obey_registrar(self) -> None:
        """The one that this terminal is enrolled with, by the key that it told last."""
        if held := self._way.enrolment:
            self._refresh.use(held.refresh_key, held.token.address)

    async def _woken_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        woken = self._woken.is_set()
        self._woken.clear()
        return woken

    async def _settle(self) -> bool:
        """Wait until nothing changes for a moment. True: what there is now is to be registered at once.

        A DHCP client takes one address away before it sets the next, udhcpc sets one with a wrong prefix first.
        """
        loop = asyncio.get_running_loop()
        latest = loop.time() + LONGEST_SETTLE_SECONDS
        quiet = min(self._settings.agent.settle, LONGEST_SETTLE_SECONDS)
        while not self._stopping and loop.time() < latest and await self._woken_within(quiet):
            pass
        changed = self._watch.addresses != self._addresses
        is_new = self._stopping or self._reload or self._link_up or (changed and not self._is_known_already())
        if changed:
            log.info("own addresses: %s", ", ".join(sorted(self._watch.addresses)) or "none")
        self._addresses, self._link_up = self._watch.addresses, False
        if is_new:
            self._way.speaks_from = ""
            self._renewal.changed(loop.time())
        return is_new

    def _is_known_already(self) -> bool:
        """The change is told late: a registration begun before it speaks, or spoke, from this very address."""
        gone, come = self._addresses - self._watch.addresses, self._watch.addresses - self._addresses
        return not gone and come == {self._way.speaks_from}

    async def _is_due(self) -> bool:
        """Wait for the next attempt's time or for a change; False: for neither, ask again."""
        pause = self._renewal.due - asyncio.get_running_loop().time()
        if pause <= 0:
            return True
        return await self._settle() if await self._woken_within(pause) else True

    async def _interruptible(self, attempt: Coroutine[Any, Any, None]) -> None:
        """Run an attempt; drop it when the network changes meanwhile: it may hang on an address that is gone."""
        task = asyncio.ensure_future(attempt)
        try:
            while not task.done():
                wake = asyncio.ensure_future(self._woken.wait())
                await asyncio.wait({task, wake}, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
                if self._woken.is_set() and not task.done():
                    self._woken.clear()
                    if await self._settle():
                        break
        finally:
            if not task.done():
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _attempt(self) -> None:
        now = asyncio.get_running_loop().time
        chance = random.random()  # noqa: S311
        try:
            if self._way.enrolment is None or self._status.state in (State.REFUSED, State.UNTRUSTED):
                await self._read_enrolment()  # somebody may have enrolled this terminal anew
            self._way.refresh_proof = self._refresh.last_datagram
            registration = await self._way.register(self._addresses, await self._proof())
        except RegistrarUnreachable as error:
            self._renewal.failed(now(), chance, error.retry_after)
            await self._failed(State.OFFLINE if error.no_way else State.UNREACHED, str(error))
        except RegistrarUntrusted as error:
            self._renewal.refused(now(), chance)
            await self._failed(State.UNTRUSTED, str(error))
        except (RegistrationRefused, ConfigurationError, StoreError) as error:
            self._renewal.refused(now(), chance)
            await self._failed(State.REFUSED, str(error))
        else:
            self._renewal.registered(now(), registration.lifetime, chance)
            await self._registered(registration)
            if self._serving != self._wanted_service():
                self.reload()  # it has a name now, or another one

    async def _proof(self) -> Proof | None:
        """By which the mail server shall know this terminal before it gives it mail."""
        if self._service:
            return self._service.proof
        return await self._own_proof.find(self._settings.agent, self._addresses)

    async def _registered(self, registration: Registration) -> None:
        self._obey_registrar()
        is_new = self._status.state is not State.REGISTERED or self._status.endpoint != registration.endpoint
        is_news = is_new or self._status.url != registration.url
        await self._tell(
            replace(
                self._status,
                state=State.REGISTERED,
                since=_now() if is_new else self._status.since,
                address=registration.address,
                endpoint=registration.endpoint,
                updated=registration.updated,
                expires=registration.expires,
                url=registration.url,
                found_by=self._way.found_by(registration.url),
                pin=self._way.pin,
                reason="",
            )
        )
        log.log(
            logging.INFO if is_news else logging.DEBUG,
            "registered: %s at %s%s, by %s",
            registration.address,
            registration.endpoint,
            f" until {registration.expires}" if registration.expires else "",
            registration.url,
        )

    async def _failed(self, state: State, reason: str) -> None:
        is_new = (state, reason) != (self._status.state, self._status.reason)
        # Having no network is how a terminal spends its nights: said once. So is each other trouble.
        level = logging.DEBUG if not is_new else logging.INFO if state is State.OFFLINE else logging.WARNING
        pause = self._renewal.due - asyncio.get_running_loop().time()
        since = _now() if state is not self._status.state else self._status.since
        await self._tell(replace(self._status, state=state, since=since, reason=reason))
        log.log(level, "not registered (%s): %s; trying again in %.0f s", state, reason, pause)

    async def _say_goodbye(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._way.unregister()
            log.info("unregistered: %s", self._way.address)
        except (LanpostError, TimeoutError) as error:
            log.info("could not say goodbye to the server: %s", error or "no answer")

    async def _reload_all(self) -> None:
        self._reload = False
        former = self._settings
        try:
            fresh = self._read_settings()
            if fresh.data != former.data:
                log.warning("another data folder is used from the next start on")
            settings = replace(fresh, data=former.data)
            self._way = await asyncio.to_thread(RegistrarWay, self._folder, settings.agent)
            self._settings = settings
            self._obey_registrar()
            log.info("read the configuration again")
            if self._serving != self._wanted_service():
                if self._service:
                    await self._service.stop()
                self._service = None
                self._service = await self._start_service()
        except (ConfigurationError, StoreError) as error:
            log.error("the configuration cannot be used: %s", error)

    async def _read_enrolment(self) -> None:
        await asyncio.to_thread(self._way.load)
        self._obey_registrar()

    def _wanted_service(self) -> tuple[object, ...]:
        """What decides whether and how mail is taken here; nothing where none is."""
        held, enrolled, special = self._settings.agent, self._way.enrolment, self._special_service
        if not (held.receive or special) or enrolled is None:
            return ()
        address = enrolled.token.address
        ways = (held.receive, held.listen, held.port, self._settings.hostname, self._settings.limits, address)
        return (*ways, self._settings.fax) if special else ways

    async def _start_service(self) -> MailService | None:
        self._serving = self._wanted_service()
        settings, enrolled = self._settings, self._way.enrolment
        if enrolled is None:
            return None
        if self._special_service:
            return await self._special_service(settings, enrolled.token.address, self._folder)
        if not settings.agent.receive:
            return None
        from lanpost.app.receiver import start_receiver

        return await start_receiver(settings, enrolled.token.address, self._folder)

    async def _tell(self, status: Status) -> None:
        self._status = replace(status, own_addresses=tuple(sorted(self._addresses)))
        await asyncio.to_thread(agent_state.write_status, self._folder, self._status)
        readiness.notify(f"STATUS={status.state} {status.endpoint or status.reason}")
        self._on_status(self._status)


async def run_agent(
    settings: Settings, read_settings: Callable[[], Settings], start_service: StartService | None = None
) -> None:
    """Run the agent until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    agent = Agent(settings, read_settings, start_service=start_service)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    loop.add_signal_handler(signal.SIGHUP, agent.reload)
    await agent.run()


async def register_once(settings: Settings) -> Registration:
    """Register now, once. Raises what RegistrarWay does."""
    folder = enrolment.agent_folder(settings.data)
    way = RegistrarWay(folder, settings.agent)
    own = own_addresses()
    if settings.agent.receive:
        from lanpost.store.terminal_key import TerminalKey

        proof: Proof | None = TerminalKey.open(folder).proof
    else:
        proof = await OwnProof().find(settings.agent, own)
    return await way.register(own, proof)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
