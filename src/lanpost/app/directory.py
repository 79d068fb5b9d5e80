"""A directory alone: registrar and chart on a machine of their own, asked over LDAP by mail servers and others."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog

from lanpost import __version__
from lanpost.app import readiness
from lanpost.app.advertisement import Advertisement
from lanpost.app.certificates import Certificates, utc_now
from lanpost.app.charts import open_chart
from lanpost.app.checks import problems
from lanpost.app.config import load, taken_over
from lanpost.app.control import CONTROL_SOCKET
from lanpost.app.directory_face import DirectoryFace
from lanpost.app.handover_watch import watching_handovers
from lanpost.app.inquiry import open_mailboxes
from lanpost.app.logs import configure
from lanpost.app.process_rules import allow_open_files
from lanpost.app.queue_access import READY, STARTING, STOPPING
from lanpost.app.registration import ACCOUNTS_FILE, RegistrationService
from lanpost.app.server import shown_addresses
from lanpost.app.setting_values import Listen
from lanpost.app.settings import Settings
from lanpost.app.succession import Succession
from lanpost.errors import ConfigurationError, LanpostError
from lanpost.net.control import ControlListener
from lanpost.net.listener import ConnectionLimits
from lanpost.service.metrics import Metrics
from lanpost.store import formats
from lanpost.store.accounts import SqliteAccounts

# Where `ldap.listen` names nothing: serving LDAP is what this program is for.
DEFAULT_LISTEN = (Listen("0.0.0.0", 389),)  # noqa: S104
DRAIN_SECONDS = 5.0
RELOADED = ("registrar", "log", "delivery.endpoint_ports")  # what it takes over from a changed file while it runs

log = structlog.get_logger()


class DirectoryServer:
    """One process. `run` returns after SIGTERM or SIGINT; SIGHUP reads the settings again."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError where the settings contradict each other."""
        if found := list(problems(settings)):
            raise ConfigurationError(f"{settings.file or 'the default settings'}: " + "; ".join(found))
        self._settings = settings
        self._state = STARTING
        self._started = time.monotonic()
        self._succession = Succession()
        allow_open_files(2 * settings.limits.connections + 500)

    async def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Serve until told to stop. Raises ConfigurationError, StoreError, ChartUnavailable: it cannot start.

        Whoever sees `succession.starts_again` afterwards has to call `succession.start_again`.
        """
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._succession.heed_signals(loop)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            beside = [
                loop.create_task(self._certificates.keep_renewed()),
                loop.create_task(readiness.tell_alive()),
            ]
            if self._settings.discovery.advertise:
                beside.append(loop.create_task(self._advertisement().run()))
            try:
                self._succession.keep()
                log.info("ready", version=__version__, **self._addresses())
                readiness.notify("READY=1", "STATUS=answering")
                self._state = READY
                ready()
                await self._succession.ends.wait()
            finally:
                self._state = STOPPING
                self._succession.end()
                readiness.notify("STOPPING=1")
                for duty in beside:
                    duty.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
        log.info("stopped")

    @property
    def succession(self) -> Succession:
        return self._succession

    async def _open(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        formats.claim(settings.data)
        self._certificates = Certificates(settings)
        accounts = SqliteAccounts(settings.data / ACCOUNTS_FILE)
        stack.callback(accounts.close)
        chart = open_chart(settings)
        stack.push_async_callback(chart.close)
        mailboxes = open_mailboxes(settings)
        stack.callback(mailboxes.close)
        metrics = Metrics()
        at = settings.ldap.listen or DEFAULT_LISTEN
        sockets = self._succession.begin({"ldap": at, "http": settings.http.listen})
        stack.callback(self._succession.end)
        self._registration = RegistrationService(
            settings, chart, accounts, mailboxes, self._certificates, metrics=metrics, sockets=sockets.of("http")
        )
        limits = settings.limits
        self._face = DirectoryFace(
            settings,
            at,
            chart,
            accounts,
            mailboxes,
            self._registration.registrar,
            self._certificates,
            limits=ConnectionLimits(limits.connections, limits.connections_per_client),
            sockets=sockets.of("ldap"),
        )
        metrics.gauge("lanpost_clients", "Clients connected.", lambda: self._face.listener.count)
        await self._face.start()
        stack.push_async_callback(self._face.stop, DRAIN_SECONDS)
        await self._registration.start()
        stack.push_async_callback(self._registration.stop, DRAIN_SECONDS)
        await stack.enter_async_context(watching_handovers(chart, utc_now))
        control = ControlListener(
            settings.data / CONTROL_SOCKET,
            {"status": self._show_status, "refresh": self._registration.command_refresh},
        )
        await control.start()
        stack.push_async_callback(control.stop)

    async def _show_status(self, _arguments: Any) -> list[Any]:
        return [
            {
                "version": __version__,
                "state": self._state,
                "uptime_seconds": round(time.monotonic() - self._started),
                "listeners": self._addresses(),
                "clients": self._face.listener.count,
            }
        ]

    def _addresses(self) -> dict[str, list[str]]:
        return shown_addresses(self._listening())

    def _listening(self) -> dict[str, Sequence[tuple[str, int]]]:
        return {"ldap": self._face.listener.addresses, "http": self._registration.addresses}

    def _advertisement(self) -> Advertisement:
        hostname = self._settings.hostname or socket.gethostname()
        certificates = self._certificates
        pin, moved = certificates.authority.pin, certificates.renew
        return Advertisement(hostname, self._settings.domain, pin, self._listening(), moved)

    def _reload(self) -> None:
        """SIGHUP: the registrar's rules and the log can change while it runs."""
        with readiness.reloading():
            self._read_again()

    def _read_again(self) -> None:
        try:
            fresh = load(str(self._settings.file) if self._settings.file else None)
            if found := list(problems(fresh)):
                raise ConfigurationError("; ".join(found))
        except LanpostError as error:
            log.error("settings not reloaded: the old ones stay", reason=str(error))
            return
        taken, waiting = taken_over(self._settings, fresh, RELOADED)
        configure(taken.log)
        self._registration.reload(taken)
        log.info("settings reloaded", at_next_start=waiting)
