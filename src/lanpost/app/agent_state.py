"""What the agent is doing, for `lanpost agent status`, and the lock that lets one agent run at a time.

Both are in `<data>/agent/`. Standard library only. Raises StoreBusy and StoreError.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from lanpost.errors import StoreBusy
from lanpost.store.files import give_to_folders_owner, store_error

log = logging.getLogger(__name__)

STATUS_FILE = "status.json"
LOCK_FILE = "lock"
LOCK_TRIES, LOCK_PAUSE = 5, 0.02  # whoever reads the status touches the lock for a moment


class State(StrEnum):
    """Where a terminal stands with its registrar."""

    STARTING = "starting"
    REGISTERED = "registered"
    OFFLINE = "offline"  # no address or no route here
    UNREACHED = "unreached"  # no usable answer from the server
    UNTRUSTED = "untrusted"  # whoever answers is not our server
    REFUSED = "refused"  # the server said no
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Status:
    """The words of `lanpost agent status --json`. Times are ISO 8601, UTC; "" where there is none."""

    state: State
    address: str
    since: str  # in this state
    endpoint: str = ""  # as the server confirmed it last
    updated: str = ""
    expires: str = ""
    url: str = ""  # of the server that answered last
    found_by: str = ""  # how that URL is known: configuration, token, dhcp, dns-sd
    pin: str = ""  # of the server that is believed
    own_addresses: tuple[str, ...] = ()
    reason: str = ""  # why it is not registered
    pid: int = 0


def write_status(folder: Path, status: Status) -> None:
    """Replace the status whole. Not fsynced, for flash memory's sake; a failure is logged and forgotten."""
    fresh = folder / f".{STATUS_FILE}.{secrets.token_hex(4)}"
    try:
        fresh.write_text(json.dumps(asdict(status), ensure_ascii=False, indent=1), "utf-8")
        fresh.replace(folder / STATUS_FILE)
    except OSError as error:
        log.warning("cannot write %s: %s", folder / STATUS_FILE, error.strerror or error)
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def read_status(folder: Path) -> Status | None:
    """The status as last written; STOPPED if its agent runs no more, None if there never was one."""
    try:
        fields = json.loads((folder / STATUS_FILE).read_text("utf-8"))
        fields["own_addresses"] = tuple(fields["own_addresses"])
        fields["state"] = State(fields["state"]) if _is_locked(folder) else State.STOPPED
        return Status(**{name: fields[name] for name in Status.__slots__ if name in fields})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error(error, str(folder / STATUS_FILE)) from None
    except (ValueError, LookupError, TypeError):
        return None  # of another version: the agent soon writes its own


@contextlib.contextmanager
def only_agent(folder: Path) -> Iterator[None]:
    """Be the one agent of this folder while inside. Raises StoreBusy, naming the process that is it."""
    file = folder / LOCK_FILE
    try:
        # Root may be here, in a folder of the service's: it follows no link that one has put there.
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise store_error(error, str(file)) from None
    try:
        give_to_folders_owner(file, handle)
        if not _lock(handle):
            other = os.read(handle, 32).decode("ascii", "replace").strip()
            raise StoreBusy(f"{folder}: another agent (process {other}) uses it; stop that one first")
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE)
        else:
            return True
    return False


def _is_locked(folder: Path) -> bool:
    try:
        handle = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
