"""What a mail brings to a fax machine: its texts, TIFFs and PDFs, in order (RFC 3965, RFC 2045, RFC 2046). Pure.

Any part that a fax machine cannot put on paper fails the mail as a whole (RFC 3965 §2.2.4): InvalidFax, in words.
"""

from __future__ import annotations

import email.policy
from dataclasses import dataclass
from email.errors import InvalidBase64CharactersDefect, InvalidBase64LengthDefect, InvalidBase64PaddingDefect
from email.message import Message
from email.parser import BytesParser
from enum import StrEnum

from lanpost.errors import InvalidFax

MAX_DEPTH = 20  # multiparts and mails inside each other
MAX_PARTS = 500
MAX_TEXT = 2_000_000  # characters; some hundred pages

_BROKEN = (InvalidBase64CharactersDefect, InvalidBase64LengthDefect, InvalidBase64PaddingDefect)
_TIFF_MAGIC = (b"II*\0", b"MM\0*")
_PDF_MAGIC = b"%PDF-"
_TIFF_TYPES = ("image/tiff", "image/tiff-fx", "image/tif", "image/x-tiff", "image/x-tif")
_PDF_TYPES = ("application/pdf", "application/x-pdf")
_UNKNOWN_TYPES = ("application/octet-stream", "application/x-octet-stream", "binary/octet-stream")
_ENCODINGS = ("", "7bit", "8bit", "binary", "base64", "quoted-printable")


class Kind(StrEnum):
    TEXT = "text"
    TIFF = "tiff"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Document:
    """One part. `where` names it to people: "part 2 (page.tif)"."""

    kind: Kind
    where: str
    data: bytes = b""  # of a TIFF or PDF
    text: str = ""


def documents(mail: bytes) -> list[Document]:
    """What is to be put on paper: at least one document. `mail` is a whole mail, not dot-stuffed."""
    try:
        # compat32: the newer policy rewrites what it cannot read, and raises on some of it.
        parsed = BytesParser(policy=email.policy.compat32).parsebytes(mail)
        found = _Walk()
        found.take(parsed, 0)
    except RecursionError:
        raise InvalidFax("the mail's parts are nested too deep") from None
    if not found.documents:
        raise InvalidFax("there is nothing in this mail that could be put on paper")
    return found.documents


class _Walk:
    def __init__(self) -> None:
        self.documents: list[Document] = []
        self._parts = 0

    def take(self, part: Message, depth: int) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidFax(f"more than {MAX_PARTS} parts in one mail")
        if depth > MAX_DEPTH:
            raise InvalidFax("the mail's parts are nested too deep")
        kind = part.get_content_type()
        if part.is_multipart():
            self._take_many(part, kind, depth)
            return
        where = self._where(part)
        if kind.startswith("multipart/"):
            raise InvalidFax(f"{where} is a {kind} without a boundary")
        if kind.startswith("message/"):
            raise InvalidFax(f"{where} is a {kind}, which is no fax: send TIFF, PDF or plain text")
        if kind == "text/plain":
            self._take_text(part, where)
            return
        data = _decoded(part, where)
        is_tiff, is_pdf = data.startswith(_TIFF_MAGIC), data[:1024].lstrip().startswith(_PDF_MAGIC)
        if kind in _TIFF_TYPES:
            if not is_tiff:
                raise InvalidFax(f"{where} is said to be {kind}, and is no TIFF")
            self.documents.append(Document(Kind.TIFF, where, data))
        elif kind in _PDF_TYPES:
            if not is_pdf:
                raise InvalidFax(f"{where} is said to be {kind}, and is no PDF")
            self.documents.append(Document(Kind.PDF, where, data))
        elif kind in _UNKNOWN_TYPES and (is_tiff or is_pdf):
            self.documents.append(Document(Kind.TIFF if is_tiff else Kind.PDF, where, data))
        else:
            raise InvalidFax(f"{where} is {kind}, which is no fax: send TIFF, PDF or plain text")

    def _take_many(self, part: Message, kind: str, depth: int) -> None:
        children = part.get_payload()
        assert isinstance(children, list)
        inner = [child for child in children if isinstance(child, Message)]
        if kind == "multipart/alternative":
            # The last that can be put on paper is the best that can (RFC 2046 §5.1.4).
            inner = [_best_of(inner, self._where(part))]
        elif kind == "multipart/report":
            inner = inner[:1]  # for people; what follows is for programs (RFC 6522 §3)
        for child in inner:
            self.take(child, depth + 1)

    def _take_text(self, part: Message, where: str) -> None:
        data = _decoded(part, where)
        charset = part.get_content_charset() or "utf-8"
        try:
            text = data.decode(charset)
        except (LookupError, ValueError):
            text = data.decode("latin-1")  # shows what the sender's own charset would show, but for accents
        if len(text) > MAX_TEXT:
            raise InvalidFax(f"{where} is a text of more than {MAX_TEXT} characters")
        if text.strip():  # mail programs put an empty one before an attachment
            self.documents.append(Document(Kind.TEXT, where, text=text))

    def _where(self, part: Message) -> str:
        try:
            name = part.get_filename()
        except (ValueError, LookupError):
            name = None
        shown = "".join(char for char in name or "" if char.isprintable())[:60]
        return f"part {self._parts} ({shown})" if shown else f"part {self._parts}"


def _best_of(parts: list[Message], where: str) -> Message:
    for part in reversed(parts):
        kind = part.get_content_type()
        if kind in ("text/plain", *_TIFF_TYPES, *_PDF_TYPES) or part.is_multipart():
            return part
    raise InvalidFax(f"{where}: none of its alternatives is TIFF, PDF or plain text")


def _decoded(part: Message, where: str) -> bytes:
    encoding = str(part.get("content-transfer-encoding", "")).split(";")[0].strip().lower()
    if encoding not in _ENCODINGS:
        raise InvalidFax(f"{where} has the transfer encoding {encoding[:40]!r}, which is not known here")
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        data = None
    if not isinstance(data, bytes) or any(isinstance(defect, _BROKEN) for defect in part.defects):
        raise InvalidFax(f"{where}: its {encoding or '7bit'} cannot be decoded")
    return data
