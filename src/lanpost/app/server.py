"""The mail server: every part put together, started in order, stopped in the reverse one."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from lanpost import __version__
from lanpost.app import readiness
from lanpost.app.advertisement import Advertisement
from lanpost.app.authentication import Authenticator
from lanpost.app.certificates import Certificates
from lanpost.app.charts import open_chart
from lanpost.app.checks import problems
from lanpost.app.config import load, taken_over
from lanpost.app.control import CONTROL_SOCKET, ControlServer
from lanpost.app.delivery_record import DeliveryRecord
from lanpost.app.delivery_reports import DeliveryReports
from lanpost.app.directory_face import DirectoryFace
from lanpost.app.growing_content import ContentFolder
from lanpost.app.handover_watch import watching_handovers
from lanpost.app.inquiry import now, open_mailboxes, router
from lanpost.app.login_learning import LoginLearning
from lanpost.app.logs import configure
from lanpost.app.process_rules import (
    allow_open_files,
    clients_share,
    reception_rules,
    schedule,
    sender_limits,
    share,
)
from lanpost.app.queue_access import READY, SPOOL_FOLDER, STARTING, STOPPING
from lanpost.app.queue_runner import QueueRules, QueueRunner
from lanpost.app.reception import Reception
from lanpost.app.registration import ACCOUNTS_FILE, RegistrationService, registrar_of, rules_of
from lanpost.app.settings import Settings
from lanpost.app.spool_adoption import adopt
from lanpost.app.succession import Succession
from lanpost.app.workers import Workers, report_to_first, worker_count
from lanpost.app.wrong_machines import WrongMachines
from lanpost.content.reports import Reporter
from lanpost.content.trace import mail_ids
from lanpost.errors import ConfigurationError, LanpostError, StoreBusy
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Client
from lanpost.model.reply import Reply
from lanpost.net.control import Command, ask
from lanpost.net.listener import ConnectionLimits, Listener
from lanpost.net.listening_sockets import ListeningSockets
from lanpost.net.login_delays import LoginDelays
from lanpost.net.pop3 import REFUSAL as POP3_REFUSAL
from lanpost.net.pop3 import Pop3Service
from lanpost.net.smtp_in import REFUSAL as SMTP_REFUSAL
from lanpost.net.smtp_in import SmtpService
from lanpost.net.smtp_out import SmtpSender
from lanpost.service.metrics import Metrics
from lanpost.store import formats
from lanpost.store.accounts import SqliteAccounts
from lanpost.store.spool import JournalSpool
from lanpost.wire.smtp_events import SmtpLimits, SmtpTerms

log = structlog.get_logger()

BUSY_TRIES, BUSY_SECONDS = 25, 0.2
DRAIN_SECONDS = 15.0  # for mails half received when we stop, and then for mails half sent
NO_ROOM = "no room for mail in the data folder"
SETTLE_SECONDS = 1.0  # to write down what became of the latter
# What a running server takes over from a changed file, tables and keys; the rest waits for the next start.
RELOADED = (
    "relay",
    "fallback",
    "registrar",
    "log",
    "delivery.cut_through",
    "delivery.cut_through_timeout",
    "delivery.endpoint_ports",
)


class Server:
    """One process of a mail server. `run` returns after SIGTERM or SIGINT; SIGHUP reads the settings again.

    Worker 0 is the whole of it, or where `workers` says so the first of several: only it has the registrar.
    """

    def __init__(self, settings: Settings, worker: int = 0) -> None:
        """Raises ConfigurationError where the settings contradict each other."""
        if found := list(problems(settings)):
            raise ConfigurationError(f"{settings.file or 'the default settings'}: " + "; ".join(found))
        self._settings = settings
        self._worker = worker
        self._count = worker_count(settings)
        allow_open_files(3 * settings.limits.connections + settings.delivery.connections + 1000)
        self._succession = Succession()
        self._workers = Workers(
            0 if worker else self._count,
            settings.file,
            sockets=lambda number: self._succession.sockets.of_process(number),
            gone=self._serve_for,
            back=self._serve_no_more_for,
        )
        self._registration: RegistrationService | None = None
        self._directory: DirectoryFace | None = None
        self._hostname = settings.hostname or socket.gethostname()  # never the "fully qualified" one: that asks DNS
        self._started = time.monotonic()
        self._state = STARTING
        self._listeners: Sequence[Listener] = ()
        self._metrics = Metrics()
        self._login_delays = LoginDelays()  # one for all services: who guesses at one has guessed at the others

    async def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Serve until told to stop. Raises ConfigurationError, StoreError, ChartUnavailable: it cannot start.

        Whoever sees `succession.starts_again` afterwards has to call `succession.start_again`.
        """
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            await self._open(stack)
            await self._listen(stack)
            self._succession.heed_signals(loop, further=bool(self._worker))
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            stack.push_async_callback(self._workers.stop)
            await self._workers.start()
            async with asyncio.TaskGroup() as duties:
                queue = duties.create_task(self._queue.run())
                beside = [
                    duties.create_task(self._certificates.keep_renewed()),
                    duties.create_task(self._workers.run()),
                    duties.create_task(self._record.run()),
                ]
                if not self._worker:
                    beside.append(duties.create_task(readiness.tell_alive()))
                if not self._worker and self._settings.discovery.advertise:
                    beside.append(duties.create_task(self._advertisement().run()))
                if self._worker:
                    beside.append(duties.create_task(report_to_first(self._figures)))
                else:
                    self._succession.keep()
                    log.info("ready", version=__version__, **self._addresses())
                    readiness.notify("READY=1", f"STATUS=taking mail, {self._count} processes")
                self._state = READY
                ready()
                await self._succession.ends.wait()
                self._state = STOPPING
                self._succession.end()
                if not self._worker:
                    readiness.notify("STOPPING=1", "STATUS=finishing what is half received and half sent")
                log.info("stopping", clients=sum(listener.count for listener in self._listeners), **self._label())
                await asyncio.gather(self._workers.stop(), self._drain())
                await queue
                for duty in beside:
                    duty.cancel()
        log.info("stopped", **self._label())

    @property
    def succession(self) -> Succession:
        return self._succession

    def _serve_for(self, worker: int) -> None:
        """A further process is gone: its clients are ours until it is back."""
        for listener in self._listeners:
            listener.serve_for(worker, self._succession.sockets.of(listener.name, worker))

    def _serve_no_more_for(self, worker: int) -> None:
        for listener in self._listeners:
            listener.serve_no_more_for(worker)

    def _open_sockets(self) -> ListeningSockets:
        settings = self._settings
        if self._worker:
            return self._succession.begin_further()
        services = {
            "smtp": settings.smtp.listen,
            "submission": settings.submission.listen,
            "pop3": settings.pop3.listen,
            "ldap": settings.ldap.listen,
            "http": settings.http.listen,
        }
        return self._succession.begin(services, processes=self._count, alone=("http",))

    async def _drain(self) -> None:
        """Finish what is half received, then what is half sent, be it reception's or the queue's."""
        await asyncio.gather(*(listener.drain(DRAIN_SECONDS) for listener in self._listeners))
        self._queue.rest()
        give_up = time.monotonic() + DRAIN_SECONDS
        await self._reception.drain(DRAIN_SECONDS)
        await self._queue.drain(max(give_up - time.monotonic(), SETTLE_SECONDS))

    async def _open(self, stack: AsyncExitStack) -> None:
        """Everything that stores, decides and sends; nothing comes in yet."""
        settings = self._settings
        # Only the first process changes the format: the others are of its version, or must not write here.
        (formats.require if self._worker else formats.claim)(settings.data)
        self._certificates = Certificates(settings)
        self._accounts = SqliteAccounts(settings.data / ACCOUNTS_FILE)
        stack.callback(self._accounts.close)
        self._authenticator = Authenticator(self._accounts, settings.domain)
        stack.callback(self._authenticator.close)
        self._chart = open_chart(settings)
        stack.push_async_callback(self._chart.close)
        self._mailboxes = open_mailboxes(settings)
        stack.callback(self._mailboxes.close)
        registrar = registrar_of(settings, self._chart, self._accounts, self._mailboxes)
        self._learning = LoginLearning(registrar, now)
        stack.push_async_callback(self._learning.close)
        spools = settings.data / SPOOL_FOLDER
        self._spool = await self._open_spool(spools / str(self._worker))
        stack.callback(self._spool.close)
        if not self._worker:
            await asyncio.to_thread(adopt, self._spool, spools, self._count)
        folder = ContentFolder(settings.data / "incoming" / str(self._worker))
        stack.callback(folder.close)
        wrong_machines = WrongMachines(self._ask_to_register)
        stack.push_async_callback(wrong_machines.close)
        self._record = DeliveryRecord(settings.data, lambda: self._router.rules.smarthost)
        stack.push_async_callback(self._record.close)
        self._sender = SmtpSender(self._hostname, sender_limits(settings), wrong_machines.met, self._record.note)
        stack.push_async_callback(self._sender.close)
        self._router = router(settings, self._chart, self._mailboxes)
        ids = mail_ids(self._worker, now())
        self._queue = QueueRunner(
            QueueRules(
                schedule(settings),
                share(settings, settings.delivery.connections),
                share(settings, settings.delivery.connections_per_endpoint),
            ),
            self._spool,
            self._router,
            self._sender,
            self._mailboxes,
            self._chart,
            DeliveryReports(Reporter(self._hostname, settings.domain), self._spool, ids, now),
            now,
        )
        self._reception = Reception(
            reception_rules(settings, self._hostname),
            self._router,
            self._sender,
            self._mailboxes,
            self._spool,
            self._queue,
            folder,
            ids,
            now,
            self._log_in,
            self._spool.room,
        )

    async def _open_spool(self, folder: Path) -> JournalSpool:
        """A worker that is started again may find its predecessor not quite gone yet."""
        for _ in range(BUSY_TRIES if self._worker else 0):
            with suppress(StoreBusy):
                return JournalSpool(folder, free_disk=self._settings.limits.free_disk)
            await asyncio.sleep(BUSY_SECONDS)
        return JournalSpool(folder, free_disk=self._settings.limits.free_disk)

    async def _listen(self, stack: AsyncExitStack) -> None:
        settings, tls = self._settings, self._certificates.context
        sockets = self._open_sockets()
        stack.callback(self._succession.end)
        limits = ConnectionLimits(
            clients_share(settings, settings.limits.connections),
            clients_share(settings, settings.limits.connections_per_client),
        )
        pop3 = Pop3Service(
            authenticate=self._authenticator.verify_user,
            open_mailbox=self._mailboxes.open_session,
            networks_without_tls=settings.authentication.networks_without_tls,
            idle_seconds=settings.pop3.idle,
            delays=self._login_delays,
        )
        stack.push_async_callback(pop3.close)
        services = (
            ("smtp", settings.smtp.listen, self._smtp(), SMTP_REFUSAL),
            ("submission", settings.submission.listen, self._smtp(submission=True), SMTP_REFUSAL),
            ("pop3", settings.pop3.listen, pop3.connection, POP3_REFUSAL),
        )
        self._listeners = [
            Listener(
                name,
                at,
                serve,
                limits,
                refusal=refusal,
                tls=tls,
                sockets=sockets.of(name, 0),
            )
            for name, at, serve, refusal in services
        ]
        for listener in self._listeners:
            await listener.start()
            stack.push_async_callback(listener.drain, 0)
        if settings.ldap.listen:
            registrar = registrar_of(settings, self._chart, self._accounts, self._mailboxes)
            self._directory = DirectoryFace(
                settings,
                settings.ldap.listen,
                self._chart,
                self._accounts,
                self._mailboxes,
                registrar,
                self._certificates,
                limits=limits,
                sockets=sockets.of("ldap", 0),
                delays=self._login_delays,
            )
            await self._directory.start()
            stack.push_async_callback(self._directory.stop, 0)
            self._listeners = [*self._listeners, self._directory.listener]
        more: dict[str, Command] = {}
        if not self._worker:
            self._add_gauges()
            self._registration = RegistrationService(
                settings,
                self._chart,
                self._accounts,
                self._mailboxes,
                self._certificates,
                metrics=self._metrics,
                sockets=sockets.of("http", 0),
                unwell=lambda: "" if self._spool.room() else NO_ROOM,
            )
            await self._registration.start()
            stack.push_async_callback(self._registration.stop, DRAIN_SECONDS)
            await stack.enter_async_context(watching_handovers(self._chart, now))
            more["refresh"] = self._registration.command_refresh
        name = f"control-{self._worker}.sock" if self._worker else CONTROL_SOCKET
        control = ControlServer(settings.data / name, self._queue, self.status, more)
        await control.start()
        stack.push_async_callback(control.stop)

    def _smtp(self, *, submission: bool = False) -> SmtpService:
        settings = self._settings
        limits = settings.limits
        terms = SmtpTerms(
            self._hostname,
            settings.domain,
            SmtpLimits(limits.mail_size, limits.recipients, limits.errors, limits.commands, limits.command_octets),
            authentication=True,
            submission=submission,
        )
        return SmtpService(
            self._reception,
            terms,
            limits.command_timeout,
            limits.mail_timeout,
            networks_without_tls=settings.authentication.networks_without_tls,
            delays=self._login_delays,
        )

    async def _ask_to_register(self, addresses: Sequence[MailAddress]) -> None:
        """Raises LanpostError where that cannot be done now."""
        if not self._settings.registrar.refresh:
            return
        if self._registration is not None:
            await self._registration.refresher.refresh(addresses)
            return
        named = [str(address) for address in addresses]
        first = self._settings.data / CONTROL_SOCKET  # only the first process has the registrar
        await asyncio.to_thread(lambda: list(ask(first, "refresh", addresses=named)))

    async def _log_in(self, client: Client, login: str, password: str) -> Reply:
        return await self._authenticator.reply(login, password, partial(self._learning.note, client))

    def _figures(self) -> dict[str, int]:
        """What this process has done."""
        counters = self._reception.counters
        return {
            "clients": sum(listener.count for listener in self._listeners),
            "queue": len(self._spool),
            "received": counters.received,
            "cut_through": counters.cut_through,
            "to_mailbox": counters.to_mailbox,
            "spooled": counters.spooled,
            "refused": counters.refused,
            "delivered_later": self._queue.counters.delivered,
            "deferred": self._queue.counters.deferred,
            "failed": self._queue.counters.failed,
            "reports": self._queue.counters.reports,
        }

    def _add_gauges(self) -> None:
        for name, text in (
            ("clients", "Clients connected."),
            ("queue", "Mails in the spool."),
            ("received", "Mails taken, whatever became of them."),
            ("cut_through", "Recipients whose endpoint had the mail before its sender was answered."),
            ("to_mailbox", "Recipients whose mail went into a mailbox."),
            ("spooled", "Mails of which a copy had to wait in the spool."),
            ("refused", "Recipients refused at RCPT."),
            ("delivered_later", "Recipients who got their mail from the spool."),
            ("deferred", "Attempts from the spool that were put off."),
            ("failed", "Recipients given up, whose sender was told."),
            ("reports", "Delivery reports written."),
        ):
            self._metrics.gauge(f"lanpost_{name}", text, partial(self._in_all, name))

    def _in_all(self, name: str) -> int:
        return self._figures()[name] + self._workers.total(name)

    def status(self) -> dict[str, Any]:
        """What `lanpost status` shows: of all workers together."""
        return {
            "version": __version__,
            "state": self._state if self._state != READY or self._spool.room() else NO_ROOM,
            "uptime_seconds": round(time.monotonic() - self._started),
            "listeners": self._addresses(),
            **{name: self._in_all(name) for name in self._figures()},
        }

    def _label(self) -> dict[str, int]:
        return {"worker": self._worker} if self._worker else {}

    def _addresses(self) -> dict[str, list[str]]:
        return shown_addresses(self._listening())

    def _listening(self) -> dict[str, Sequence[tuple[str, int]]]:
        found: dict[str, Sequence[tuple[str, int]]] = {each.name: each.addresses for each in self._listeners}
        if self._registration is not None:
            found["http"] = self._registration.addresses
        return found

    def _advertisement(self) -> Advertisement:
        certificates = self._certificates
        pin, moved = certificates.authority.pin, certificates.renew
        return Advertisement(self._hostname, self._settings.domain, pin, self._listening(), moved)

    def _reload(self) -> None:
        """SIGHUP: what can change while running does; what cannot is named."""
        with readiness.reloading() if not self._worker else nullcontext():
            self._read_again()

    def _read_again(self) -> None:
        try:
            fresh = load(str(self._settings.file) if self._settings.file else None)
            if found := list(problems(fresh)):
                raise ConfigurationError("; ".join(found))
        except LanpostError as error:
            log.error("settings not reloaded: the old ones stay", reason=str(error))
            return
        # Nothing but what can change while running: half of a new domain would be worse than none of it.
        taken, waiting = taken_over(self._settings, fresh, RELOADED)
        configure(taken.log)
        self._router.rules = router(taken, self._chart, self._mailboxes).rules
        self._reception.rules = reception_rules(taken, self._hostname)
        self._learning.registrar.use(rules_of(taken))
        if self._registration is not None:
            self._registration.reload(taken)
        if self._directory is not None:
            self._directory.registrar.use(rules_of(taken))
        self._workers.signal(signal.SIGHUP)
        log.info("settings reloaded", at_next_start=waiting, **self._label())


def shown_addresses(listening: Mapping[str, Sequence[tuple[str, int]]]) -> dict[str, list[str]]:
    """Services and where they listen, for people."""
    return {
        name: [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses]
        for name, addresses in listening.items()
    }
