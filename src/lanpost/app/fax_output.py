"""What is done with a fax once it is stored: reported, printed, given to a command, its sender notified.

Each fax has a task. What is left to do lies on disk, so that it is taken up again after a restart; a step that was
interrupted is done once more. Trouble that may pass is tried again for some hours, then given up, and told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from lanpost.app import fax_command
from lanpost.app.fax_command import CommandFailed
from lanpost.app.fax_todo import FaxTodo, Step
from lanpost.app.fax_trust import trust_of
from lanpost.app.settings import Settings
from lanpost.app.spooled_content import SpooledContent
from lanpost.content import trace
from lanpost.content.mdn import Disposition, Notified, notification
from lanpost.content.reports import Action, Notice, Reporter, report
from lanpost.errors import ContentAborted, DeliveryError, PrinterError, StoreError
from lanpost.model import reply as replies
from lanpost.model.delivery import Verdict
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope
from lanpost.model.printer_url import PrinterUrl
from lanpost.net.printer import Printer, PrinterTrust
from lanpost.net.smtp_out import SmtpSender
from lanpost.store.fax_folders import MAIL_FILE, FaxFolders

COMMANDS_AT_ONCE = 2
PAUSES = (10.0, 60.0, 300.0, 900.0, 3600.0, 3600.0, 3600.0)  # seconds between the tries of a step
PDF_FILE, TIFF_FILE = "fax.pdf", "fax.tif"
READ_OCTETS = 65_536

log = structlog.get_logger()


class StepFailed(Exception):
    """One try of a step. `str()` says why. Never leaves this module."""

    def __init__(self, text: str, *, permanent: bool) -> None:
        super().__init__(text)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class OutputRules:
    """The parts of the configuration that are needed here."""

    hostname: str
    domain: str  # reports come from postmaster there
    via: Endpoint
    command: tuple[str, ...] = ()
    command_timeout: float = 300.0
    mdn: bool = False
    pauses: tuple[float, ...] = PAUSES


class FaxOutput:
    """`todo` says what is to be done with a fax, `start` does it."""

    def __init__(
        self,
        rules: OutputRules,
        folders: FaxFolders,
        sender: SmtpSender,
        printer: Printer | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._rules = rules
        self._folders = folders
        self._sender = sender
        self._printer = printer
        self._clock = clock
        self._printing = asyncio.Lock()  # one after the other, in the order of their arrival
        self._commands = asyncio.Semaphore(COMMANDS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids: Iterator[str] = trace.mail_ids(1, clock())

    @property
    def sends_mdn(self) -> bool:
        return self._rules.mdn

    def todo(self, fax: str, about: Notified, arrived: datetime, size: int) -> FaxTodo:
        """All that is to be done with this fax; `mdn_to` is for the caller to set, since only he knows the mail."""
        steps = []
        if "SUCCESS" in about.recipient.notify and about.envelope.sender is not None:
            steps.append(Step.DELIVERY_REPORT)
        if self._printer is not None:
            steps.append(Step.PRINT)
        if self._rules.command:
            steps.append(Step.COMMAND)
        if self._rules.mdn:
            steps.append(Step.DISPOSITION)
        return FaxTodo(fax, about, arrived.timestamp(), size, steps)

    def start(self, todo: FaxTodo) -> None:
        """Do it, in the background."""
        task = asyncio.get_running_loop().create_task(self._run(todo))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def resume(self) -> None:
        """Take up what the last process left. What cannot be read is logged: new faxes are taken all the same."""
        try:
            left = await asyncio.to_thread(self._folders.todos)
        except StoreError as error:
            log.error("fax not put out", fax="all that were left", reason=str(error))
            return
        for name, data in left.items():
            try:
                self.start(FaxTodo.load(data))
            except ValueError as error:
                log.error("fax not put out", fax=name, reason=str(error))

    async def idle(self) -> None:
        """Until nothing is left to do. For tests, and whoever wants to see all done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """Break off; it is taken up at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sender.close()
        if self._printer is not None:
            await self._printer.close()

    async def _run(self, todo: FaxTodo) -> None:
        try:
            while (step := todo.next_step()) is not None:
                await self._take(todo, step)
                if todo.steps:
                    await asyncio.wrap_future(self._folders.write_todo(todo.fax, todo.dump()))
            await asyncio.wrap_future(self._folders.remove_todo(todo.fax))
        except StoreError as error:
            log.error("fax not put out", fax=todo.fax, reason=str(error))
        except Exception:
            log.exception("fax not put out", fax=todo.fax)

    async def _take(self, todo: FaxTodo, step: Step) -> None:
        """One try of a step; and the pause after it where it is to be tried again."""
        try:
            await self._do(todo, step)
        except StepFailed as failure:
            todo.tries += 1
            if failure.permanent or todo.tries > len(self._rules.pauses):
                log.error("fax not put out", fax=todo.fax, step=step.value, reason=str(failure), tries=todo.tries)
                todo.done(f"{_IN_WORDS[step]}: {failure}" if step in _IN_WORDS else "")
                return
            pause = self._rules.pauses[todo.tries - 1]
            log.warning(
                "fax will be put out later", fax=todo.fax, step=step.value, reason=str(failure), seconds=pause
            )
            await asyncio.wrap_future(self._folders.write_todo(todo.fax, todo.dump()))
            await asyncio.sleep(pause)
            return
        log.info("fax put out", fax=todo.fax, step=step.value)
        todo.done()

    async def _do(self, todo: FaxTodo, step: Step) -> None:
        folder = self._folders.folder / todo.fax
        if step is not Step.DISPOSITION and not folder.is_dir():  # a command may well have moved it
            raise StepFailed("the fax's folder was removed", permanent=True)
        match step:
            case Step.DELIVERY_REPORT:
                await self._report(todo, folder)
            case Step.PRINT:
                await self._print(todo, folder)
            case Step.COMMAND:
                await self._command(folder)
            case Step.DISPOSITION:
                assert todo.mdn_to
                made = notification(
                    todo.about,
                    todo.mdn_to,
                    Disposition(todo.error),
                    next(self._ids),
                    self._rules.hostname,
                    self._clock(),
                )
                await self._send(made.envelope, made.content)

    async def _print(self, todo: FaxTodo, folder: Path) -> None:
        assert self._printer
        async with self._printing:
            try:
                forms = await asyncio.to_thread(
                    lambda: {
                        "application/pdf": (folder / PDF_FILE).read_bytes(),
                        "image/tiff": (folder / TIFF_FILE).read_bytes(),
                    }
                )
                sender = todo.about.envelope.sender
                await self._printer.print(f"Fax from {sender or 'an unknown sender'}", forms)
            except PrinterError as error:
                raise StepFailed(str(error), permanent=error.permanent) from None
            except OSError as error:
                raise StepFailed(f"{folder}: {error.strerror or error}", permanent=True) from None

    async def _command(self, folder: Path) -> None:
        async with self._commands:
            try:
                await fax_command.run(self._rules.command, folder, self._rules.command_timeout)
            except CommandFailed as error:
                raise StepFailed(str(error), permanent=error.permanent) from None

    async def _report(self, todo: FaxTodo, folder: Path) -> None:
        """The delivery report that NOTIFY=SUCCESS asks of whoever delivers (RFC 3461 §5.2.3)."""
        about, rules = todo.about, self._rules
        notice = Notice(Action.DELIVERED, about.recipient, replies.OK)
        report_id, now = next(self._ids), self._clock()

        def make() -> tuple[Envelope, tuple[bytes, ...]]:
            with (folder / MAIL_FILE).open("rb") as file:
                made = report(
                    Reporter(rules.hostname, rules.domain),
                    report_id,
                    Action.DELIVERED,
                    [notice],
                    about.envelope,
                    todo.arrived,
                    todo.size,
                    iter(lambda: file.read(READ_OCTETS), b""),
                    now,
                )
            return made.envelope, made.content

        try:
            envelope, content = await asyncio.to_thread(make)
        except OSError as error:
            raise StepFailed(f"{folder}: {error.strerror or error}", permanent=True) from None
        await self._send(envelope, content)

    async def _send(self, envelope: Envelope, content: tuple[bytes, ...]) -> None:
        """By way of the mail server, which knows the way to everybody."""
        size = sum(map(len, content))
        try:
            (outcome,) = await self._sender.send(self._rules.via, envelope, SpooledContent(iter(content), size))
        except (DeliveryError, ContentAborted) as error:
            raise StepFailed(str(error), permanent=False) from None
        if outcome.verdict is not Verdict.DELIVERED:
            said = f"{self._rules.via} said: {outcome.reply}"
            raise StepFailed(said, permanent=outcome.verdict is Verdict.FAILED)


# How a step that failed is told to the fax's sender. What is between servers is none of his concern.
_IN_WORDS = {Step.PRINT: "it could not be printed", Step.COMMAND: "it could not be handed on"}


def output_of(everything: Settings, folders: FaxFolders, hostname: str, domain: str, registrar: str) -> FaxOutput:
    """As the configuration has it; `registrar` is the mail server's IP where it names none. ConfigurationError."""
    settings = everything.fax
    fax_command.check(settings.command)
    rules = OutputRules(
        hostname,
        domain,
        Endpoint.parse(settings.via) if settings.via else Endpoint.parse(_bracketed(registrar)),
        settings.command,
        settings.command_timeout,
        settings.mdn == "when-asked",
        PAUSES,
    )
    printer = None
    if settings.printer:
        trust = PrinterTrust(trust_of(everything), settings.printer_pin)
        printer = Printer(PrinterUrl.parse(settings.printer), "lanpost fax", trust=trust)
    return FaxOutput(rules, folders, SmtpSender(hostname), printer)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
