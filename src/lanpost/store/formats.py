"""Which format a data folder is of: `format.json` in it, looked at before anything else there is opened.

One number for all that lanpost keeps in the folder. A folder of a newer format is never touched; one of an older
format is brought up to date by a service that starts (`claim`), and by nothing else (`require`), so that no command
changes files under a server of another version.

Standard library only: the agent uses it. Raises StoreError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lanpost import __version__
from lanpost.errors import StoreError
from lanpost.store.files import replace_file, store_error

# Raised with every change that an earlier version could not read: another step of a SQLite schema, another format
# of the spool's journal, another meaning of a file's fields. A field more that may be left aside is no such change.
FORMAT: Final = 1
ORIGINAL: Final = 1  # of folders from before there was this file
FILE_NAME: Final = "format.json"

# What the versions before this file left in a folder that they had used.
_SIGNS = ("accounts.sqlite3", "agent", "chart.sqlite3", "mailboxes", "spool", "tls")


@dataclass(frozen=True, slots=True)
class Written:
    """What a data folder says of itself. `program`: the version of lanpost that made it so, "" if not known."""

    number: int
    program: str = ""


def written_format(data: Path) -> int | None:
    """The format that a data folder is of; None where nothing of lanpost's is there yet."""
    written = _read(data)
    return written.number if written else None


def refusal(data: Path) -> str:
    """Why this version must not open a data folder, and what to do; "" where it may."""
    written = _read(data)
    return _too_new(data, written) if written and written.number > FORMAT else ""


def claim(data: Path) -> None:
    """Make the folder one of our format, before a service brings what is in it up to date. It is made if need be.

    StoreError: it is of a newer format; then nothing was changed.
    """
    _make(data)
    written = _read(data)
    if written and written.number > FORMAT:
        raise StoreError(_too_new(data, written))
    if not written or written.number < FORMAT:
        _write(data)
    elif not (data / FILE_NAME).exists():
        _write_if_possible(data)


def require(data: Path) -> None:
    """See that the folder is of our format, for commands and further processes; a new folder becomes so.

    StoreError: it is of another one, newer or older; then nothing was changed.
    """
    written = _read(data)
    if written and written.number > FORMAT:
        raise StoreError(_too_new(data, written))
    if written and written.number < FORMAT:
        raise StoreError(
            f"{data} is of format {written.number}, this lanpost {__version__} has {FORMAT}: start the "
            "service of this version, which brings the folder up to date, or use the lanpost that runs with it"
        )
    if not written:
        _make(data)
        _write(data)


def _too_new(data: Path, written: Written) -> str:
    maker = f"lanpost {written.program}" if written.program else "a newer lanpost"
    return (
        f"{data} is of format {written.number}, made by {maker}; this is lanpost {__version__}, which reads "
        f"format {FORMAT} at most and has changed nothing there: install {maker} (or newer), or restore the backup "
        "from before the upgrade"
    )


def _read(data: Path) -> Written | None:
    path = data / FILE_NAME
    try:
        if path.exists() and not path.is_file():
            raise ValueError  # noqa: TRY301 - a pipe, say, that would be waited for
        document = json.loads(path.read_text("utf-8"))
        number = document["format"]
        if type(number) is not int or number < ORIGINAL:
            raise ValueError  # noqa: TRY301
        return Written(number, str(document.get("program", "")))
    except (FileNotFoundError, NotADirectoryError):
        return Written(ORIGINAL) if any((data / name).exists() for name in _SIGNS) else None
    except PermissionError:
        raise StoreError(
            f"{data}: permission denied; do it as the user that the server runs as, or as root"
        ) from None
    except OSError as error:
        raise store_error(error, str(path)) from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise StoreError(
            f"{path}: cannot be read, so that nobody knows which version of lanpost this folder is of: restore it "
            f"from a backup, or write {_text(FORMAT)} if none but this version was ever used here"
        ) from None


def _write(data: Path) -> None:
    path = data / FILE_NAME
    try:
        replace_file(path, _text(FORMAT, __version__).encode() + b"\n")
    except OSError as error:
        raise store_error(error, str(path)) from None


def _write_if_possible(data: Path) -> None:
    """For a folder that is of our format, and says so by saying nothing: a full disk must not stop the server."""
    try:
        _write(data)
    except StoreError:
        return


def _text(number: int, program: str = "") -> str:
    return json.dumps({"format": number} | ({"program": program} if program else {}))


def _make(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise store_error(error, str(data)) from None
