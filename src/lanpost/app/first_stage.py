"""What `lanpost push` runs on the other machine, before lanpost is there: sent as text, never imported by us.

Plain Python 3.5 and its standard library, so that an old Python can still say how old it is. Standard input: lines
of JSON (`request`, then `go`), then the file's octets. Standard output: lines of MARK and JSON; wire/push.py is the
other end, and knows what they mean. It asks nothing of the shell, the locale or the environment. Until `go` it
changes nothing.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import Any

MARK = "lanpost-push1 "
MAX_LINE = 1 << 20  # octets of one line to us: a configuration may be in it
MAX_FILE = 1 << 15  # octets of a configuration that are told of
CHUNK = 1 << 17
TOLD_EVERY = 0.2  # seconds between two words on how much has come
# Of what is run here, whatever that of the login was.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
SILENCE = 60  # seconds without an octet after which the pushing side is taken for gone


class Failed(Exception):
    """What ends the push here; `kind` is for the pushing side, `text` for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def tell(event: str, **fields: Any) -> None:
    """Say something to the pushing side. Where nobody listens any more, what has begun is brought to its end."""
    fields["event"] = event
    line = (MARK + json.dumps(fields) + "\n").encode("ascii")
    try:
        while line:
            line = line[os.write(1, line) :]
    except OSError:
        pass


def read_line(stream: Any) -> Any:
    """The next line of JSON; None where the pushing side has said all."""
    line = stream.readline(MAX_LINE)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise Failed("interrupted", "the connection broke")
    return json.loads(line.decode("ascii"))


def digest_of(path: str, octets: int = -1) -> str:
    """SHA-256 of a file, or of its first octets."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while octets:
            chunk = file.read(CHUNK if octets < 0 else min(CHUNK, octets))
            if not chunk:
                break
            digest.update(chunk)
            octets -= len(chunk) if octets > 0 else 0
    return digest.hexdigest()


def size_of(path: str) -> int:
    """Octets of a plain file; -1 where there is none."""
    return os.path.getsize(path) if os.path.isfile(path) and not os.path.islink(path) else -1


def free_at(path: str) -> int:
    """Octets that may still be written where the path is, or will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def reached(places: Any) -> Any:
    """Which of some IP addresses and ports is the first that answers from here; None: none of them."""
    for number, (host, port) in enumerate(places):
        try:
            socket.create_connection((host, port), 3).close()
        except OSError:
            continue
        return number
    return None


class Here:
    """The places on this machine that a push is about."""

    def __init__(self, request: Any) -> None:
        self.root = request["root"].rstrip("/")
        self.place = self.root + "/opt/lanpost"
        self.folder = self.place + "/.push"
        self.sha256 = request["sha256"]
        self.size = request["size"]
        self.whole = "%s/%s.pyz" % (self.folder, self.sha256)
        self.part = "%s/%s.part" % (self.folder, self.sha256)
        self.installed = "%s/%s/lanpost.pyz" % (self.place, request["version"])

    def file_at_hand(self) -> str:
        """Where the very file is on this machine already; empty: nowhere."""
        for path in (self.installed, self.whole):
            if size_of(path) == self.size and digest_of(path) == self.sha256:
                return path
        return ""

    def current(self) -> Any:
        """The version that is installed now; None: none."""
        try:
            return os.path.basename(os.readlink(self.place + "/current"))
        except OSError:
            return None

    def text_of(self, path: str) -> Any:
        """The text of a file of the configuration; None: it is not there."""
        if not os.path.lexists(self.root + path):
            return None
        with open(self.root + path, "rb") as file:
            return file.read(MAX_FILE).decode("utf-8", "replace")


def tell_machine() -> None:
    """Say what this is, and whom we have logged in as."""
    tell(
        "machine",
        python=list(sys.version_info[:3]),
        executable=sys.executable,
        machine=platform.machine(),
        bits=struct.calcsize("P") * 8,
        libc=list(platform.libc_ver()),
        system=platform.system(),
        uid=os.geteuid(),
    )


def plan(request: Any) -> None:
    """What is here, for the pushing side to decide by."""
    tell_machine()
    if os.geteuid() != 0 and not request["root"]:
        return  # the rest is not for everybody to see, and the pushing side will say so
    here = Here(request)
    at_hand = here.file_at_hand()
    offset = 0 if at_hand else max(0, size_of(here.part))
    tell(
        "plan",
        at_hand=bool(at_hand),
        offset=offset,
        part=digest_of(here.part) if offset else "",
        free=free_at(here.place),
        place=here.place,
        current=here.current(),
        reached=reached(request["reach"]),
        files=[here.text_of(path) for path in request["files"]],
    )


def locked(here: Here) -> int:
    """The lock that one push at a time holds, until this process has ended."""
    handle = os.open(here.folder + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Failed("busy", "another push to this machine is going on")
    return handle


def sync_folder(path: str) -> None:
    """Make names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def receive(here: Here, offset: int) -> None:
    """The file, from the offset on, to its place: length and SHA-256 are right, and it is on the disk."""
    digest = hashlib.sha256()
    told = 0.0
    with open(here.part, "r+b" if offset else "wb") as file:
        for start in range(0, offset, CHUNK):
            digest.update(file.read(min(CHUNK, offset - start)))
        file.seek(offset)
        file.truncate()
        while offset < here.size:
            heard = select.select([0], [], [], SILENCE)[0]
            chunk = os.read(0, min(CHUNK, here.size - offset)) if heard else b""
            if not chunk:
                os.fsync(file.fileno())
                raise Failed("interrupted", "the connection broke after %d octets" % offset)
            file.write(chunk)
            file.flush()
            digest.update(chunk)
            offset += len(chunk)
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                tell("got", octets=offset)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != here.sha256:
        os.unlink(here.part)
        raise Failed("damaged", "what came has another SHA-256 than what was sent")
    os.rename(here.part, here.whole)
    sync_folder(here.folder)
    tell("got", octets=offset)


def write_signature(path: str, text: str) -> None:
    """What the file's publisher has signed it with, beside it; `install` takes it along."""
    if os.path.exists(path):
        os.unlink(path)
    if text:
        with open(path, "wb") as file:
            file.write(text.encode("ascii"))


def write_files(here: Here, files: Any) -> Any:
    """Those of the configuration that are not there; their paths, to be taken away if all was in vain."""
    written = []
    for wanted in files:
        path = here.root + wanted["path"]
        if os.path.lexists(path):
            continue
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        handle = os.open(path + ".push", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(wanted["text"].encode("utf-8"))
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.rename(path + ".push", path)
        sync_folder(os.path.dirname(path))
        written.append(path)
    return written


def install(file: str, arguments: Any) -> int:
    """Run the file's own `install`; its lines are told. Its status."""
    process = subprocess.Popen(
        [sys.executable, "-I", file, "install", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        tell("line", text=line.decode("utf-8", "replace").rstrip())
    return process.wait()


def tidy(here: Here) -> None:
    """Away with what is of no use any more: parts of other pushes, and the file, of which there is a copy now."""
    for name in os.listdir(here.folder):
        if name.endswith((".part", ".pyz", ".sig")):
            os.unlink(os.path.join(here.folder, name))


def carry_out(request: Any, go: Any) -> None:
    """The push itself."""
    here = Here(request)
    os.umask(0o022)  # whatever root's is here: the service's user has to reach programs and configuration
    os.makedirs(here.folder, 0o755, exist_ok=True)
    os.chmod(here.folder, 0o700)
    lock = locked(here)
    # From here on a lost connection, or Ctrl-C at the other end, must not leave half an installation behind.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    file = here.file_at_hand()
    if not file:
        receive(here, go["offset"])
        file = here.whole
    if file == here.whole:
        write_signature(file + ".publisher.sig", go["signature"])
    written = write_files(here, go["files"])
    tell("installing")
    status = install(file, go["arguments"])
    if status:
        for path in written:
            os.unlink(path)
    else:
        tidy(here)
    os.close(lock)
    tell("installed", status=status, current=here.current())


def ask(request: Any) -> None:
    """Run a command that is here, and tell what it printed."""
    tell_machine()
    try:
        process = subprocess.Popen(
            request["command"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
    except OSError as error:
        tell("answer", status=127, output="", errors=str(error))
        return
    output, errors = process.communicate()
    tell(
        "answer",
        status=process.returncode,
        output=output.decode("utf-8", "replace"),
        errors=errors.decode("utf-8", "replace"),
    )


def main(stream: Any) -> None:
    """Answer one request. Every end is told; the exit status says nothing."""
    try:
        request = read_line(stream)
        if request is None:
            return
        if request["action"] == "ask":
            ask(request)
            return
        plan(request)
        go = read_line(stream)
        if go is not None:
            carry_out(request, go)
    except Failed as error:
        tell("failed", kind=error.kind, text=str(error))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full:  # the room is needed by others here more than by a part that can be sent again
            with contextlib.suppress(OSError):
                os.unlink(Here(request).part)
        where = " (%s)" % error.filename if error.filename else ""
        tell("failed", kind="full" if full else "system", text=(error.strerror or str(error)) + where)
    except Exception as error:
        tell("failed", kind="internal", text="%s: %s" % (type(error).__name__, error))
