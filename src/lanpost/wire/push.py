"""What `lanpost push` and its first stage on the other machine say to each other, pushing side, without I/O.

The other side speaks in lines of MARK and JSON; what a login shell says before the first of them is no part of it,
and kept in `noise`. We answer with the first stage's source (`Ready`), then lines of JSON, then the file's octets.
Nothing that the other side sends raises: what is out of order becomes `Failed`, and the session is over.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum, auto
from typing import Any

from lanpost.errors import LocalProtocolError

MARK = b"lanpost-push1 "
# Says that it is there, then runs the line it is sent. Within single quotes sh, csh, fish and BusyBox understand it
# alike, since it has no quote of that kind, no backslash and no exclamation mark.
BOOTSTRAP = f'print("{MARK.decode()}{{}}",flush=True);exec(eval(open(0,"rb",0,closefd=False).readline()))'
MAX_LINE = 1 << 18  # octets of one line from the other side
MAX_NOISE = 1 << 20  # octets before the first of them: a login shell that says more will never end
KEPT_NOISE = 2_000  # characters of it that an error may show


class State(Enum):
    """Where a session is."""

    STARTING = auto()  # nothing heard
    ASKED = auto()  # the request is sent
    KNOWN = auto()  # it said what machine it is
    PLANNED = auto()  # it said all about itself, and waits
    SENDING = auto()
    INSTALLING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Ready:
    """Python is there. `request` is due."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is there. `libc`: name and version, each may be empty. `uid`: whom we have logged in as."""

    python: tuple[int, ...]
    executable: str
    machine: str
    bits: int
    libc: tuple[str, ...]
    system: str
    uid: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is there of ours. `go` is due, or nothing: then nothing is changed.

    `at_hand`: it has the very file. `offset`: so many octets of it came before, with SHA-256 `part`. `free`: octets
    that may be written at `place`. `current`: the version installed. `reached`: which of `Request.reach` answers
    from there. `files`: the text of each of `Request.files`, None where it is not there.
    """

    at_hand: bool
    offset: int
    part: str
    free: int
    place: str
    current: str | None
    reached: int | None
    files: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Got:
    """So many octets of the file are there."""

    octets: int


@dataclass(frozen=True, slots=True)
class Installing:
    """The file is there, whole and on the disk; its `install` begins."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that `install` printed."""

    text: str


@dataclass(frozen=True, slots=True)
class Installed:
    """`install` ended with that status; `current` is the version installed now."""

    status: int
    current: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command there printed."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It is over. `kind`: busy, full, damaged, interrupted, system, internal, or protocol (ours)."""

    kind: str
    text: str


Event = Ready | Machine | Plan | Got | Installing | Line | Installed | Answer | Failed

# What may be heard in each state, and the state that it leads to.
MOVES: Mapping[State, Mapping[type[Event], State]] = {
    State.STARTING: {Ready: State.STARTING},
    State.ASKED: {Machine: State.KNOWN, Failed: State.CLOSED},
    State.KNOWN: {Plan: State.PLANNED, Answer: State.CLOSED, Failed: State.CLOSED},
    State.PLANNED: {Failed: State.CLOSED},
    State.SENDING: {Got: State.SENDING, Installing: State.INSTALLING, Failed: State.CLOSED},
    State.INSTALLING: {Line: State.INSTALLING, Installed: State.CLOSED, Failed: State.CLOSED},
    State.CLOSED: {},
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be pushed. `reach`: places, one of which must answer from there; `files`: paths to tell of."""

    sha256: str
    size: int
    version: str
    root: str = ""  # another root folder than /
    reach: Sequence[tuple[str, int]] = ()
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class File:
    """A file of the configuration, written where there is none of that name."""

    path: str
    text: str


class PushSession:
    """The pushing side: bytes in, events out."""

    def __init__(self) -> None:
        self.state = State.STARTING
        self._noise = ""
        self._lines: deque[bytes] = deque()
        self._begun = b""  # of a line whose end is still to come
        self._noise_octets = 0
        self._to_send: list[bytes] = []
        self._is_ready = False

    def receive_data(self, data: bytes) -> None:
        """What the other side wrote."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        self._lines.extend(lines)

    @property
    def noise(self) -> str:
        """The end of what was said that was not for us, before or instead of the first stage."""
        begun = "" if self._is_ready else self._begun.decode("utf-8", "replace")
        return plain(self._noise + begun)[-KEPT_NOISE:].strip()

    def next_event(self) -> Event | None:
        """The next word of the other side; None when more data is needed or the session is over."""
        while self._lines and self.state is not State.CLOSED:
            if (event := self._read(self._lines.popleft())) is not None:
                return event
        if len(self._begun) > MAX_LINE and self.state is not State.CLOSED:
            return self._fail("it sends a line without end")
        return None

    def request(self, source: str, request: Request) -> None:
        """Answer Ready: send the first stage, and what it is to look for."""
        self._ask(source, {"action": "push", **asdict(request)})

    def ask(self, source: str, command: Sequence[str]) -> None:
        """Answer Ready: send the first stage, and a command whose output is wanted."""
        self._ask(source, {"action": "ask", "command": list(command)})

    def go(self, offset: int, files: Sequence[File], arguments: Sequence[str], signature: str = "") -> None:
        """Answer Plan: the file's octets from there on follow; `arguments` are those of `install`.

        `signature`: what its publisher has signed it with, kept beside it; "": nothing.
        """
        if self.state is not State.PLANNED:
            raise LocalProtocolError("there is no plan to carry out")
        written = [asdict(file) for file in files]
        self._send({"offset": offset, "files": written, "arguments": list(arguments), "signature": signature})
        self.state = State.SENDING

    def data_to_send(self) -> bytes:
        """What is due now."""
        data = b"".join(self._to_send)
        self._to_send.clear()
        return data

    def _ask(self, source: str, fields: Mapping[str, Any]) -> None:
        if self.state is not State.STARTING or not self._is_ready:
            raise LocalProtocolError("nobody is there who could be asked")
        started = f'{source}\nmain(open(0, "rb", 0, closefd=False))\n'
        self._to_send.append(ascii(started).encode("ascii") + b"\n")
        self._send(fields)
        self.state = State.ASKED

    def _send(self, fields: Mapping[str, Any]) -> None:
        self._to_send.append(json.dumps(fields).encode("ascii") + b"\n")

    def _read(self, line: bytes) -> Event | None:
        at = line.find(MARK)
        if at < 0 or (at and self._is_ready):  # only the first may stand behind words of others
            return self._hear_noise(line)
        try:
            event = _event(json.loads(line[at + len(MARK) :]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return self._fail(f"it sends what cannot be read: {line[:80]!r}")
        if type(event) not in MOVES[self.state] or (isinstance(event, Ready) and self._is_ready):
            return self._fail(f"it says {type(event).__name__} where that has no meaning")
        self._is_ready = True
        self.state = MOVES[self.state][type(event)]
        return event

    def _hear_noise(self, line: bytes) -> Failed | None:
        self._noise = (self._noise + line.decode("utf-8", "replace") + "\n")[-KEPT_NOISE:]
        self._noise_octets += len(line) + 1
        return self._fail("it says much, but nothing of lanpost's") if self._noise_octets > MAX_NOISE else None

    def _fail(self, text: str) -> Failed:
        self.state = State.CLOSED
        return Failed("protocol", text)


def plain(text: str) -> str:
    """What another machine said, so that it can be shown: nothing in it is a command to the terminal here."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def _event(fields: Any) -> Event:
    name = fields.get("event", "ready")
    return _READERS[name](fields)


_READERS: Mapping[str, Callable[[Any], Event]] = {
    "ready": lambda _: Ready(),
    "machine": lambda said: Machine(
        tuple(_number(each) for each in said["python"]),
        _shown(said["executable"]),
        _shown(said["machine"]),
        _number(said["bits"]),
        tuple(_text(each) for each in said["libc"]),
        _shown(said["system"]),
        _number(said["uid"]),
    ),
    "plan": lambda said: Plan(
        said["at_hand"] is True,
        _number(said["offset"]),
        _text(said["part"]),
        _number(said["free"]),
        _shown(said["place"]),
        _perhaps(_shown, said["current"]),
        _perhaps(_number, said["reached"]),
        tuple(_perhaps(_text, each) for each in said["files"]),
    ),
    "got": lambda said: Got(_number(said["octets"])),
    "installing": lambda _: Installing(),
    "line": lambda said: Line(_shown(said["text"])),
    "installed": lambda said: Installed(_number(said["status"]), _perhaps(_shown, said["current"])),
    "answer": lambda said: Answer(_number(said["status"]), _text(said["output"]), _shown(said["errors"])),
    "failed": lambda said: Failed(_text(said["kind"]), _shown(said["text"])),
}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _shown(value: Any) -> str:
    return plain(_text(value))


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _perhaps(read: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else read(value)
