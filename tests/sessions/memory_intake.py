"""A small real Intake that keeps mails in memory, and a server around it in a thread of its own."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lanpost.model.envelope import Client, Envelope, Recipient
from lanpost.model.reply import NO_SUCH_USER, OK, RECIPIENT_OK, Reply
from lanpost.net.listener import ConnectionLimits, Listener
from lanpost.net.smtp_in import REFUSAL, SmtpService

T = TypeVar("T")
PASSWORD = "open sesame"  # of everybody
LOGIN_OK = Reply(235, "2.7.0", "Welcome")
WRONG = Reply(535, "5.7.8", "Wrong login or password")


@dataclass
class Kept:
    client: Client
    envelope: Envelope
    recipients: list[Recipient]
    content: bytes


@dataclass
class MemoryTransaction:
    intake: MemoryIntake
    client: Client
    envelope: Envelope
    recipients: list[Recipient] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    async def add_recipient(self, recipient: Recipient) -> Reply:
        if self.intake.slow:
            await asyncio.sleep(0)
        if recipient.address.local == "unknown":
            return NO_SUCH_USER
        self.recipients.append(recipient)
        return RECIPIENT_OK

    def start_content(self) -> Reply | None:
        return self.intake.content_refusal

    def write(self, chunk: bytes) -> Future[None] | None:
        if self.intake.broken:
            raise RuntimeError("broken on purpose")
        self.chunks.append(chunk)
        return self.intake.disk(chunk) if self.intake.disk else None

    async def finish(self) -> Reply:
        kept = Kept(self.client, self.envelope, self.recipients, b"".join(self.chunks))
        if self.intake.finishing:
            self.intake.asked.set()
            await self.intake.finishing.wait()
        self.intake.mails.append(kept)
        self.intake.arrived.set()
        return OK

    def abort(self) -> None:
        self.intake.aborted += 1
        self.intake.gone.set()


@dataclass
class MemoryIntake:
    """`mails` are those answered 250. The flags make it slow, broken or unwilling."""

    mails: list[Kept] = field(default_factory=list)
    aborted: int = 0
    arrived: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)  # to finish, when `finishing` holds it up
    slow: bool = False
    broken: bool = False
    content_refusal: Reply | None = None
    disk: Callable[[bytes], Future[None]] | None = None
    finishing: asyncio.Event | None = None

    async def authenticate(self, client: Client, login: str, password: str) -> Reply:
        return LOGIN_OK if password == PASSWORD else WRONG

    def begin(self, client: Client, envelope: Envelope) -> MemoryTransaction | Reply:
        if envelope.sender and envelope.sender.local == "spammer":
            return Reply(550, "5.7.1", "Not you")
        return MemoryTransaction(self, client, envelope)


@dataclass(frozen=True)
class At:
    host: str = "127.0.0.1"
    port: int = 0


@dataclass
class Serving:
    """A server at work in another thread."""

    intake: MemoryIntake
    listener: Listener
    loop: asyncio.AbstractEventLoop

    @property
    def port(self) -> int:
        return self.listener.ports[0]

    def run(self, coroutine: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


@contextmanager
def serving(
    service: SmtpService,
    *,
    tls: ssl.SSLContext | None = None,
    limits: ConnectionLimits | None = None,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[Serving]:
    assert isinstance(service.intake, MemoryIntake)
    started: Future[Serving] = Future()

    async def run() -> None:
        listener = Listener("smtp", [At()], service, limits, refusal=REFUSAL, tls=tls)
        await listener.start()
        stop = asyncio.Event()
        server = Serving(intake, listener, asyncio.get_running_loop())
        stopping.append(lambda: server.loop.call_soon_threadsafe(stop.set))
        started.set_result(server)
        await stop.wait()
        await listener.drain(0)

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(run())
        except BaseException as exc:
            if not started.done():
                started.set_exception(exc)
            raise

    intake = service.intake
    stopping: list[Callable[[], object]] = []
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield started.result(30)
    finally:
        for stop in stopping:
            stop()
        thread.join(30)
        assert not thread.is_alive()


def throwaway_tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for a server on 127.0.0.1 and for the clients that trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    return server, client
