"""Real dialogues with a directory, and what becomes of them when octets go wrong; the same for the same seed.

    attacks = Attacks(dialogues(BASE, ADMIN, PASSWORD), seed=1)
    for _ in range(500): attacks.make().carry_out(port)

Half of the damage is done to octets as they lie there; half to the elements of a message, whose lengths are put
right again, so that it reaches what lies behind the decoder.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from lanpost.wire.ber import element
from lanpost.wire.ldap_controls import (
    PAGED_RESULTS_OID,
    SORT_REQUEST_OID,
    SYNC_REQUEST_OID,
    PagedResults,
    SyncMode,
    SyncRequest,
)
from lanpost.wire.ldap_encode import encode_message
from lanpost.wire.ldap_extensions import CANCEL_OID, REFRESH_OID, WHO_AM_I_OID, Refresh
from lanpost.wire.ldap_filter_text import parse_filter
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    AddRequest,
    BindRequest,
    CompareRequest,
    Control,
    DeleteRequest,
    ExtendedRequest,
    Message,
    Modification,
    ModificationKind,
    ModifyDnRequest,
    ModifyRequest,
    Request,
    Scope,
    SearchRequest,
    UnbindRequest,
)
from lanpost.wire.ldap_operations import START_TLS_OID

Dialogue = Sequence[bytes]  # the messages of one client

FILTERS = (
    "(objectClass=*)",
    "(&(mail=*)(cn=f*))",
    "(|(cn=fuzz1)(!(lanpostPort>=25))(description~=a b))",
    "(mailLocalAddress=fuzz1@office.lan)",
    "(cn:dn:caseExactMatch:=fuzz1)",
    "(lanpostUpdated<=20300101000000Z)",
)
SORT_KEYS = bytes.fromhex("301130040402636e300904046d61696c8101ff")  # cn, -mail
INTERESTING = (
    b"",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"*",
    b"(",
    b"\xc3\x28",
)
SEND_SECONDS = 0.2  # for a server that does not read
READ_SECONDS = 0.01


def dialogues(base: str, admin: str, password: str) -> list[Dialogue]:
    """As tools hold them: each kind of request, alone and behind the administrator's bind."""
    name = f"cn=fuzz1,{base}"
    searches: list[tuple[Request, tuple[Control, ...]]] = [
        (SearchRequest(base, scope, parse_filter(text), attributes, size_limit, 5), controls)
        for text in FILTERS
        for scope, attributes, size_limit, controls in (
            (Scope.SUBTREE, (), 0, ()),
            (Scope.ONE, ("cn", "*", "+"), 3, (Control(PAGED_RESULTS_OID, value=PagedResults(3, b"").encode()),)),
            (Scope.ONE, ("1.1",), 0, (Control(SORT_REQUEST_OID, critical=True, value=SORT_KEYS),)),
        )
    ]
    synchronising = [
        (SearchRequest(base, Scope.ONE, parse_filter("(cn=f*)")), (Control(SYNC_REQUEST_OID, True, sync.encode()),))
        for sync in (SyncRequest(SyncMode.REFRESH_ONLY), SyncRequest(SyncMode.REFRESH_AND_PERSIST, b"abc:1,csn=2"))
    ]
    classes = (b"device", b"ipHost", b"lanpostTerminal")
    writes: list[Request] = [
        AddRequest(name, (("objectClass", classes), ("cn", (b"fuzz1",)), ("ipHostNumber", (b"10.0.6.1",)))),
        ModifyRequest(
            name,
            (
                Modification(ModificationKind.REPLACE, "ipHostNumber", (b"10.0.6.2",)),
                Modification(ModificationKind.REPLACE, "lanpostExpires", (b"20991231235959Z",)),
                Modification(ModificationKind.ADD, "description", (b"one", b"two")),
            ),
        ),
        CompareRequest(name, "mailHost", b"[10.0.6.2]"),
        ExtendedRequest(REFRESH_OID, Refresh(name, 3600).encode()),
        ModifyDnRequest(name, "cn=fuzz2", delete_old_rdn=True),
        DeleteRequest(name),
    ]
    whole = [*searches, *synchronising, *((each, ()) for each in writes)]
    bind = BindRequest(admin, password.encode())
    others: list[Request] = [
        ExtendedRequest(WHO_AM_I_OID),
        ExtendedRequest(CANCEL_OID, bytes.fromhex("3003020102")),
        ExtendedRequest(START_TLS_OID),
        BindRequest("", None, "EXTERNAL"),
        BindRequest(name, b"wrong"),
    ]
    told = [[_octets(1, each, controls)] for each, controls in (*whole, *((other, ()) for other in others))]
    told += [
        [_octets(1, bind), _octets(2, each, controls), _octets(3, AbandonRequest(2)), _octets(4, UnbindRequest())]
        for each, controls in whole
    ]
    told.append([_octets(1, bind), *(_octets(number, each) for number, each in enumerate(writes, 2))])
    told.append([_octets(1, ExtendedRequest(START_TLS_OID)), _client_hello()])
    told.append([_client_hello()])
    return list(map(tuple, told))


def _octets(number: int, request: Request, controls: tuple[Control, ...] = ()) -> bytes:
    return encode_message(Message(number, request, controls))


def _client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


class End(Enum):
    """How a client goes."""

    CLOSED = auto()
    RESET = auto()
    HALF_CLOSED = auto()  # it sends no more, and reads on
    STAYS = auto()  # and is silent


@dataclass(frozen=True, slots=True)
class Attack:
    """One connection: what is sent, in which pieces; whether answers are read; how it ends."""

    pieces: tuple[bytes, ...]
    reads: bool
    end: End

    def carry_out(self, port: int) -> socket.socket | None:
        """At that port of this machine. The connection, where it stays open."""
        connection = socket.create_connection(("127.0.0.1", port), 30)
        connection.settimeout(SEND_SECONDS)
        with suppress(OSError):  # the server may close, or not read
            for piece in self.pieces:
                connection.sendall(piece)
            if self.end is End.HALF_CLOSED:
                connection.shutdown(socket.SHUT_WR)
            if self.reads:
                connection.settimeout(READ_SECONDS)
                while connection.recv(65536):
                    pass
        if self.end is End.STAYS:
            return connection
        if self.end is End.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return None


class Attacks:
    """Any number of them, made of those dialogues."""

    def __init__(self, told: Sequence[Dialogue], seed: int) -> None:
        self._told = told
        self._messages = [message for dialogue in told for message in dialogue]
        self._random = random.Random(seed)

    def make(self) -> Attack:
        chance = self._random
        messages = list(chance.choice(self._told))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
            at = chance.randrange(len(messages))
            match chance.randrange(8):
                case 0:
                    messages.insert(at, chance.choice(self._messages))
                case 1:
                    messages[at:at] = messages[at : at + 1] * chance.choice((1, 2, 70))
                case 2 | 3 | 4:
                    messages[at] = self._damage_elements(messages[at])
                case _:
                    messages[at] = self._damage_octets(messages[at])
        octets = b"".join(messages)
        cut = chance.choice((1, 7, 100, 1_000_000, 1_000_000)) if len(octets) < 3000 else 1_000_000
        pieces = tuple(octets[begin : begin + cut] for begin in range(0, len(octets), cut))
        return Attack(pieces, chance.random() < 0.5, chance.choice(list(End)))

    def _damage_octets(self, message: bytes) -> bytes:
        chance, damaged = self._random, bytearray(message)
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            at = chance.randrange(len(damaged) + 1)
            length = chance.choice((1, 1, 2, 4, 20))
            match chance.randrange(5):
                case 0 if at < len(damaged):
                    damaged[at] ^= 1 << chance.randrange(8)
                case 1:
                    del damaged[at : at + length]
                case 2:
                    damaged[at:at] = chance.randbytes(length)
                case 3:
                    damaged[at : at + length] = chance.choice(INTERESTING)
                case _:
                    other = chance.choice(self._messages)
                    begin = chance.randrange(len(other))
                    damaged[at : at + length] = other[begin : begin + length]
        return bytes(damaged)

    def _damage_elements(self, message: bytes) -> bytes:
        """One element is another; those around it have the right length."""
        chance = self._random
        found = _elements(message)
        if not found:
            return self._damage_octets(message)
        begin, end, around = chance.choice(found)
        tag, content = message[begin], _content(message[begin:end])
        match chance.randrange(6):
            case 0:
                content = chance.choice(INTERESTING)
            case 1:
                content = content * chance.choice((2, 100))
            case 2:
                tag = chance.randrange(256)
            case 3:
                content = chance.randbytes(chance.choice((1, 4, 300)))
            case 4:
                content += element(0x30, content)
            case _:
                other = chance.choice(self._messages)
                parts = _elements(other)
                if parts:
                    first, last, _ = chance.choice(parts)
                    content = other[first:last]
        made = element(tag, content) if tag & 0x1F != 0x1F else bytes([tag]) + content
        for outer_begin, outer_end in reversed(around):
            inner = _content(message[outer_begin:outer_end])
            head = outer_end - len(inner)
            made = element(message[outer_begin], message[head:begin] + made + message[end:outer_end])
            begin, end = outer_begin, outer_end
        return made


Element = tuple[int, int, list[tuple[int, int]]]  # where it is, and those that it is in, from the outermost


def _elements(octets: bytes) -> list[Element]:
    """All elements of a well-formed message; [] for what is none."""
    found: list[Element] = []

    def walk(at: int, end: int, around: list[tuple[int, int]]) -> bool:
        while at < end:
            stop = _stop(octets, at, end)
            if stop is None:
                return False
            found.append((at, stop, around))
            if octets[at] & 0x20:
                content = stop - len(_content(octets[at:stop]))
                if not walk(content, stop, [*around, (at, stop)]):
                    return False
            at = stop
        return True

    return found if walk(0, len(octets), []) else []


def _stop(octets: bytes, at: int, end: int) -> int | None:
    """Where the element that begins there ends; None: it does not end in time."""
    if at + 2 > end or octets[at] & 0x1F == 0x1F:
        return None
    length, head = octets[at + 1], 2
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size < 5 or at + 2 + size > end:
            return None
        length, head = int.from_bytes(octets[at + 2 : at + 2 + size]), 2 + size
    stop = at + head + length
    return stop if stop <= end else None


def _content(octets: bytes) -> bytes:
    """Of one well-formed element."""
    return octets[2 + (octets[1] & 0x7F if octets[1] & 0x80 else 0) :]
