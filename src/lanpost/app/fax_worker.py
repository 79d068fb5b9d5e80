"""Looks at one received fax in a process of its own: whatever a hostile file does, it does it there.

    python -m lanpost.app.fax_worker < order (JSON)

Reads `mail.eml` in the folder that the order names, writes the fax's other files beside it, all on disk, and prints
one JSON document: what it found, or {"refused": why}. It gives itself limits of memory and time before it reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict
from email.errors import HeaderParseError
from email.header import decode_header
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from lanpost.errors import InvalidFax, StoreError
from lanpost.store.fax_folders import MAIL_FILE
from lanpost.store.files import store_error, write_new_file

FACTS_FILE = "fax.json"
MAX_FILE = 2 << 30  # octets of one file written
NICE = 5  # the terminal itself goes on answering meanwhile
# Of the mail's header section, what its receiver needs: for notices, and for people.
TOLD_HEADERS = (
    *("from", "subject", "message-id", "content-type", "auto-submitted", "list-id"),
    *("disposition-notification-to", "disposition-notification-options"),
)
MAX_HEADER = 2000  # characters of one


def look(order: dict[str, Any]) -> dict[str, Any]:
    """What is printed. Raises StoreError."""
    folder = Path(order["folder"])
    _limit(order["memory"], order["seconds"])
    try:
        # Loaded here, within the limits; and the optional extra may be missing.
        from lanpost.content.fax.copies import PDF_FILE, TIFF_FILE, make_copies
        from lanpost.content.fax.mail import documents

        mail = (folder / MAIL_FILE).read_bytes()
        headers = told_headers(mail)
        found = documents(mail)
        del mail

        def write(name: str, chunks: Iterator[bytes]) -> None:
            write_new_file(folder / name, chunks)

        pages = make_copies(found, order["pages"], folder, write)
        _sync(folder / PDF_FILE)
        facts = {
            **order["about"],
            "from": _first(headers, "from"),
            "subject": _first(headers, "subject"),
            "message_id": _first(headers, "message-id"),
            "damaged_lines": sum(page.damaged_lines for page in pages),
            "pages": [asdict(page) for page in pages],
            "mail": MAIL_FILE,
            "tiff": TIFF_FILE,
            "pdf": PDF_FILE,
        }
        write(FACTS_FILE, iter((json.dumps(facts, ensure_ascii=False, indent=1).encode("utf-8", "replace"),)))
    except InvalidFax as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": f"to read it takes more than {order['memory'] >> 20} MiB of memory"}
    except OSError as error:
        raise store_error(error, str(folder)) from None
    return {"pages": [page.damaged_lines for page in pages], "headers": headers}


def _limit(memory: int, seconds: float) -> None:
    os.nice(NICE)
    os.umask(0o077)
    processor = max(1, int(seconds) + 1)
    for what, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, processor),
        (resource.RLIMIT_FSIZE, MAX_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        # The hard one stays above: to reach that is a SIGKILL, which says nothing.
        resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def told_headers(mail: bytes) -> list[tuple[str, str]]:
    """Those of TOLD_HEADERS, by their names in lower case."""
    end = mail.find(b"\r\n\r\n")
    parsed = BytesHeaderParser().parsebytes(mail if end < 0 else mail[: end + 2])
    named = ((name.lower(), value) for name, value in parsed.raw_items())
    return [(name, _shown(name, value)) for name, value in named if name in TOLD_HEADERS]


def _shown(name: str, value: str) -> str:
    """Unfolded; octets beyond ASCII read as UTF-8; what people read is decoded (RFC 2047)."""
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if name in ("from", "subject"):
        with contextlib.suppress(HeaderParseError, LookupError, ValueError):
            words = decode_header(text)
            text = "".join(
                word if isinstance(word, str) else word.decode(charset or "latin-1", "replace")
                for word, charset in words
            )
    return " ".join(text.split())[:MAX_HEADER]


def _first(headers: list[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key == name), "")


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def main() -> None:
    """Status 0 with an answer, 1 with a reason on stderr: the disk, or a library that is missing."""
    try:
        answer = look(json.load(sys.stdin))
    except (StoreError, ImportError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
