"""What somebody wants to fax: a PDF, a picture, plain text or a fax as TIFF; told apart by content, not by name.

Raises InvalidFax, whose text names the file and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from lanpost.content.fax import rendering
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.reach import NOTHING_KNOWN, Drawing, Reach
from lanpost.content.fax.reading import read_pages
from lanpost.content.fax.text_page import page_count, pages_of_text
from lanpost.errors import InvalidFax

MAX_TEXT = 8 * 1024 * 1024  # octets
MAX_FILE = 512 * 1024 * 1024

_TIFF = (b"II*\0", b"MM\0*")
_PICTURES = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|BM|RIFF....WEBP|P[1-6]\s|\0\0\0.ftyp", re.DOTALL)
_FOREIGN = {  # what people try, and what it is
    b"PK\x03\x04": "an Office document or an archive",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"{\\rtf": "a Rich Text document",
    b"%!PS": "PostScript",
}


@dataclass(frozen=True, slots=True)
class Document:
    """So many pages, drawn one at a time, anew with each call of `pages`."""

    name: str  # the file's
    count: int
    pages: Callable[[], Iterator[FaxPage]]


def open_document(file: Path, *, fine: bool, superfine: bool = False, reach: Reach = NOTHING_KNOWN) -> Document:
    """Look at a file and count its pages. `reach`: what they read who get it; `superfine` where they read that."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            head = opened.read(64)
    except OSError as error:
        raise InvalidFax(f"{file}: {error.strerror or error}") from None
    if size > MAX_FILE:
        raise InvalidFax(f"{file}: larger than {MAX_FILE // 2**20} MiB; nothing of that size can be faxed")
    try:
        return _open(file, head, fine=fine or superfine, drawing=reach.drawing(superfine=superfine), reach=reach)
    except InvalidFax as error:
        raise InvalidFax(f"{file}: {error}") from None


def _open(file: Path, head: bytes, *, fine: bool, drawing: Drawing, reach: Reach) -> Document:
    if not head:
        raise InvalidFax("the file is empty")
    if b"%PDF-" in head:
        pages = partial(rendering.pages_of_pdf, file, fine, drawing)
        return Document(file.name, rendering.pdf_page_count(file), pages)
    if head.startswith(_TIFF) and (count := _fax_pages(file, reach)):
        return Document(file.name, count, lambda: read_pages(file.read_bytes()))
    if head.startswith(_TIFF) or _PICTURES.match(head):
        pages = partial(rendering.pages_of_image, file, fine, drawing)
        return Document(file.name, rendering.image_count(file), pages)
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            raise InvalidFax(f"this is {kind}; save it as PDF and fax that")
    return of_text(file.name, _text(file), fine=fine)


def of_text(name: str, text: str, *, fine: bool) -> Document:
    """Plain text that is in no file, as a cover page's."""
    return Document(name, page_count(text), partial(pages_of_text, text, fine))


def _fax_pages(file: Path, reach: Reach) -> int:
    """The pages of a TIFF that the recipient's machine reads as they are; 0: it is another TIFF."""
    count = 0
    try:
        for page in read_pages(file.read_bytes()):
            if reach.fault(page):
                return 0
            count += 1
    except InvalidFax:
        return 0
    return count


def _text(file: Path) -> str:
    data = file.read_bytes()
    if len(data) > MAX_TEXT:
        raise InvalidFax(f"a text of more than {MAX_TEXT // 2**20} MiB")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise InvalidFax("neither PDF nor picture nor plain text; save it as PDF and fax that")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def all_pages(documents: list[Document]) -> Iterator[FaxPage]:
    """One after the other, as one fax."""
    return chain.from_iterable(document.pages() for document in documents)
