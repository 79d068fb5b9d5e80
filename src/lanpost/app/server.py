"""The mail server: every part put together, started in order, stopped in the reverse one."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import structlog

from lanpost import __version__
from lanpost.app import readiness
from lanpost.app.authentication import Authenticator
from lanpost.app.certificates import Certificates
from lanpost.app.charts import open_chart
from lanpost.app.checks import problems
from lanpost.app.config import changed_keys, load
from lanpost.app.control import CONTROL_SOCKET, ControlServer
from lanpost.app.delivery_reports import DeliveryReports
from lanpost.app.growing_content import ContentFolder
from lanpost.app.inquiry import now, open_mailboxes, router
from lanpost.app.logs import configure
from lanpost.app.queue_runner import QueueRules, QueueRunner
from lanpost.app.reception import Reception, ReceptionRules
from lanpost.app.registration import ACCOUNTS_FILE, RegistrationService
from lanpost.app.settings import Settings
from lanpost.content.reports import Reporter
from lanpost.content.trace import mail_ids
from lanpost.errors import ConfigurationError, LanpostError
from lanpost.model.envelope import Client
from lanpost.model.reply import Reply
from lanpost.net.endpoint_pool import PoolLimits
from lanpost.net.listener import ConnectionLimits, Listener
from lanpost.net.pop3 import REFUSAL as POP3_REFUSAL
from lanpost.net.pop3 import Pop3Service
from lanpost.net.smtp_connection import Patience
from lanpost.net.smtp_in import REFUSAL as SMTP_REFUSAL
from lanpost.net.smtp_in import SmtpService
from lanpost.net.smtp_out import SenderLimits, SmtpSender
from lanpost.service.metrics import Metrics
from lanpost.service.schedule import Schedule
from lanpost.store.accounts import SqliteAccounts
from lanpost.store.spool import JournalSpool
from lanpost.wire.smtp_events import SmtpLimits, SmtpTerms

log = structlog.get_logger()

DRAIN_SECONDS = 15.0  # for mails half received or half sent when we stop
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
    """One mail server in one process. `run` returns after SIGTERM or SIGINT; SIGHUP reads the settings again."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError where the settings contradict each other."""
        if found := list(problems(settings)):
            raise ConfigurationError(f"{settings.file or 'the default settings'}: " + "; ".join(found))
        self._settings = settings
        self._hostname = settings.hostname or socket.gethostname()  # never the "fully qualified" one: that asks DNS
        self._started = time.monotonic()
        self._stop = asyncio.Event()
        self._listeners: list[Listener] = []
        self._metrics = Metrics()

    async def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Serve until told to stop. Raises ConfigurationError, StoreError, ChartUnavailable: it cannot start."""
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            await self._open(stack)
            await self._listen(stack)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            async with asyncio.TaskGroup() as duties:
                queue = duties.create_task(self._queue.run())
                renewal = duties.create_task(self._certificates.keep_renewed())
                log.info("ready", version=__version__, **self._addresses())
                ready()
                readiness.notify("READY=1")
                await self._stop.wait()
                readiness.notify("STOPPING=1")
                log.info("stopping", clients=sum(listener.count for listener in self._listeners))
                await asyncio.gather(*(listener.drain(DRAIN_SECONDS) for listener in self._listeners))
                await self._queue.drain(DRAIN_SECONDS)
                await queue
                renewal.cancel()
        log.info("stopped")

    async def _open(self, stack: AsyncExitStack) -> None:
        """Everything that stores, decides and sends; nothing comes in yet."""
        settings = self._settings
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._certificates = Certificates(settings)
        self._accounts = SqliteAccounts(settings.data / ACCOUNTS_FILE)
        stack.callback(self._accounts.close)
        self._authenticator = Authenticator(self._accounts, settings.domain)
        stack.callback(self._authenticator.close)
        self._chart = open_chart(settings)
        stack.push_async_callback(self._chart.close)
        self._mailboxes = open_mailboxes(settings)
        stack.callback(self._mailboxes.close)
        self._spool = JournalSpool(settings.data / "spool" / "0", free_disk=settings.limits.free_disk)
        stack.callback(self._spool.close)
        folder = ContentFolder(settings.data / "incoming" / "0")
        stack.callback(folder.close)
        self._sender = SmtpSender(self._hostname, _sender_limits(settings))
        stack.push_async_callback(self._sender.close)
        self._router = router(settings, self._chart, self._mailboxes)
        ids = mail_ids(0, now())
        self._queue = QueueRunner(
            QueueRules(
                _schedule(settings), settings.delivery.connections, settings.delivery.connections_per_endpoint
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
            _reception_rules(settings, self._hostname),
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

    async def _listen(self, stack: AsyncExitStack) -> None:
        settings, tls = self._settings, self._certificates.context
        limits = ConnectionLimits(settings.limits.connections, settings.limits.connections_per_client)
        pop3 = Pop3Service(
            authenticate=self._authenticator.verify_user,
            open_mailbox=self._mailboxes.open_session,
            networks_without_tls=settings.authentication.networks_without_tls,
            idle_seconds=settings.pop3.idle,
        )
        stack.push_async_callback(pop3.close)
        self._listeners = [
            Listener("smtp", settings.smtp.listen, self._smtp(), limits, refusal=SMTP_REFUSAL, tls=tls),
            Listener(
                "submission",
                settings.submission.listen,
                self._smtp(submission=True),
                limits,
                refusal=SMTP_REFUSAL,
                tls=tls,
            ),
            Listener("pop3", settings.pop3.listen, pop3.connection, limits, refusal=POP3_REFUSAL, tls=tls),
        ]
        for listener in self._listeners:
            await listener.start()
            stack.push_async_callback(listener.drain, 0)
        self._add_gauges()
        self._registration = RegistrationService(
            settings,
            self._chart,
            self._accounts,
            self._mailboxes,
            self._certificates,
            metrics=self._metrics,
            unwell=lambda: "" if self._spool.room() else "no room for mail in the data folder",
        )
        await self._registration.start()
        stack.push_async_callback(self._registration.stop, DRAIN_SECONDS)
        control = ControlServer(settings.data / CONTROL_SOCKET, self._queue, self.status)
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
        )

    async def _log_in(self, client: Client, login: str, password: str) -> Reply:
        answer = await self._authenticator.reply(login, password)
        if not answer.is_positive:
            log.warning("login refused", client=client.host, login=login, reply=str(answer))
        return answer

    def _add_gauges(self) -> None:
        counters = self._reception.counters
        for name, text, read in (
            ("mails_received", "Mails taken, whatever became of them.", lambda: counters.received),
            ("recipients_cut_through", "Recipients whose endpoint had the mail before its sender's answer.",
             lambda: counters.cut_through),
            ("recipients_to_mailbox", "Recipients whose mail went into a mailbox.", lambda: counters.to_mailbox),
            ("mails_spooled", "Mails of which a copy had to wait in the spool.", lambda: counters.spooled),
            ("recipients_refused", "Recipients refused at RCPT.", lambda: counters.refused),
            ("queue_mails", "Mails in the spool.", lambda: len(self._spool)),
        ):  # fmt: skip
            self._metrics.gauge(f"lanpost_{name}", text, read)

    def status(self) -> dict[str, Any]:
        """What `lanpost status` shows."""
        counters = self._reception.counters
        return {
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - self._started),
            "listeners": self._addresses(),
            "clients": {listener.name: listener.count for listener in self._listeners},
            "queue": len(self._spool),
            "received": counters.received,
            "cut_through": counters.cut_through,
            "to_mailbox": counters.to_mailbox,
            "spooled": counters.spooled,
            "refused": counters.refused,
        }

    def _addresses(self) -> dict[str, list[str]]:
        shown = {listener.name: listener.addresses for listener in self._listeners}
        shown["http"] = self._registration.addresses
        return {
            name: [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses]
            for name, addresses in shown.items()
        }

    def _reload(self) -> None:
        """SIGHUP: what can change while running does; what cannot is named."""
        try:
            fresh = load(str(self._settings.file) if self._settings.file else None)
            if found := list(problems(fresh)):
                raise ConfigurationError("; ".join(found))
        except LanpostError as error:
            log.error("settings not reloaded: the old ones stay", reason=str(error))
            return
        waiting = [
            key
            for key in changed_keys(self._settings, fresh)
            if key not in RELOADED and key.partition(".")[0] not in RELOADED
        ]
        configure(fresh.log)
        self._router.rules = router(fresh, self._chart, self._mailboxes).rules
        self._reception.rules = _reception_rules(fresh, self._hostname)
        self._registration.reload(fresh)
        log.info("settings reloaded", at_next_start=waiting)


def _reception_rules(settings: Settings, hostname: str) -> ReceptionRules:
    return ReceptionRules(
        hostname, settings.relay.networks, settings.delivery.cut_through, settings.delivery.cut_through_timeout
    )


def _sender_limits(settings: Settings) -> SenderLimits:
    delivery = settings.delivery
    return SenderLimits(
        PoolLimits(delivery.connections, delivery.connections_per_endpoint, idle_seconds=delivery.idle),
        Patience(connect=delivery.connect_timeout, reply=delivery.reply_timeout),
    )


def _schedule(settings: Settings) -> Schedule:
    delivery = settings.delivery
    return Schedule(delivery.first_retry, delivery.last_retry, delivery.delay_notice, delivery.give_up)
