"""IPP requests and responses, as much as a client needs that prints a document (RFC 8010, RFC 8011). No I/O.

A request is the body of an HTTP POST to the printer, of type application/ipp; so is the response. Reading never
raises anything but InvalidValue.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from lanpost.errors import InvalidValue

CONTENT_TYPE = "application/ipp"
MAX_RESPONSE = 1024 * 1024  # octets; a printer that lists all that it can do needs a twentieth
_MAX_NAME = 255  # octets of a name value (RFC 8011 §5.1.3)

_OPERATION, _END = 0x01, 0x03  # delimiter tags (RFC 8010 §3.5.1)
_NAME, _KEYWORD, _URI, _CHARSET, _LANGUAGE, _MIME = 0x42, 0x44, 0x45, 0x47, 0x48, 0x49  # value tags (§3.5.2)
_TEXTS = range(0x40, 0x60)
_INTEGERS = (0x21, 0x23)  # integer and enum


class Operation(IntEnum):
    """RFC 8011 §5.4.15."""

    PRINT_JOB = 0x0002
    GET_PRINTER_ATTRIBUTES = 0x000B


@dataclass(frozen=True, slots=True)
class Response:
    """`attributes` of all groups together, by name; values that are neither texts nor numbers are left out."""

    status: int
    attributes: Mapping[str, Sequence[str | int]]

    @property
    def is_successful(self) -> bool:
        """RFC 8011 §4.1.8: successful-ok and its like."""
        return self.status < 0x0100

    @property
    def is_permanent(self) -> bool:
        """The request itself is at fault, and will be the next time (client-error, RFC 8011 B.1.4).

        Not so: not possible now (0x0404), timed out (0x0405), no such printer yet (0x0406).
        """
        return 0x0400 <= self.status < 0x0500 and self.status not in (0x0404, 0x0405, 0x0406)

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(value for value in self.attributes.get(name, ()) if isinstance(value, str))

    def number(self, name: str) -> int | None:
        return next((value for value in self.attributes.get(name, ()) if isinstance(value, int)), None)

    def __str__(self) -> str:
        said = "; ".join((*self.texts("status-message"), *self.texts("detailed-status-message")))
        words = _STATUS_WORDS.get(self.status, f"status 0x{self.status:04x}")
        return f"{words} ({said})" if said else words


_STATUS_WORDS = {  # RFC 8011 B.1
    0x0400: "bad request",
    0x0401: "forbidden",
    0x0402: "it wants a login",
    0x0403: "not authorized",
    0x0404: "not possible now",
    0x0406: "no such printer",
    0x0408: "the document is too large",
    0x040A: "it does not print this kind of document",
    0x0500: "internal error",
    0x0501: "operation not supported",
    0x0502: "service unavailable",
    0x0504: "device error",
    0x0505: "temporary error",
    0x0506: "not accepting jobs",
    0x0507: "busy",
}


def print_job(request_id: int, printer: str, user: str, name: str, document_format: str) -> bytes:
    """What stands before the document's octets in a Print-Job (RFC 8011 §4.2.1). `printer` is its URI."""
    return _request(
        Operation.PRINT_JOB,
        request_id,
        (
            (_URI, "printer-uri", (printer,)),
            (_NAME, "requesting-user-name", (user,)),
            (_NAME, "job-name", (name,)),
            (_MIME, "document-format", (document_format,)),
        ),
    )


def get_printer_attributes(request_id: int, printer: str, user: str, wanted: Sequence[str]) -> bytes:
    """Ask a printer what it can do (RFC 8011 §4.2.5)."""
    return _request(
        Operation.GET_PRINTER_ATTRIBUTES,
        request_id,
        (
            (_URI, "printer-uri", (printer,)),
            (_NAME, "requesting-user-name", (user,)),
            (_KEYWORD, "requested-attributes", wanted),
        ),
    )


def read_response(data: bytes, request_id: int) -> Response:
    """The response to the request of that id. Raises InvalidValue where it is none."""
    if len(data) < 8:
        raise InvalidValue("no IPP response: too short")
    major, _minor, status, answered = struct.unpack_from(">BBHI", data)
    if major not in (1, 2):
        raise InvalidValue(f"no IPP response: version {major}")
    if answered != request_id:
        raise InvalidValue("an IPP response to another request")
    attributes: dict[str, list[str | int]] = {}
    name, at = "", 8
    while True:
        tag, at = _byte(data, at)
        if tag == _END:
            return Response(status, attributes)
        if tag < 0x10:  # another group begins
            name = ""
            continue
        spelt, at = _counted(data, at)
        value, at = _counted(data, at)
        if spelt:  # without a name: one more value of the same attribute (RFC 8010 §3.1.5)
            name = spelt.decode("utf-8", "replace")
        read: str | int
        if tag in _TEXTS:
            read = value.decode("utf-8", "replace")
        elif tag in _INTEGERS and len(value) == 4:
            read = int(struct.unpack(">i", value)[0])
        else:
            continue
        attributes.setdefault(name, []).append(read)


def _byte(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise InvalidValue("an IPP response without an end")
    return data[at], at + 1


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    """Octets with their number in two octets before them."""
    start = at + 2
    if start > len(data):
        raise InvalidValue("an IPP response without an end")
    end = start + int(struct.unpack_from(">H", data, at)[0])
    if end > len(data):
        raise InvalidValue("an IPP response without an end")
    return data[start:end], end


_Attribute = tuple[int, str, Sequence[str]]


def _request(operation: Operation, request_id: int, attributes: Sequence[_Attribute]) -> bytes:
    # These two first, in this order (RFC 8011 §4.1.4.1). Version 1.1 is what every printer answers to.
    first: tuple[_Attribute, ...] = (
        (_CHARSET, "attributes-charset", ("utf-8",)),
        (_LANGUAGE, "attributes-natural-language", ("en",)),
    )
    pieces = [struct.pack(">BBHIB", 1, 1, operation, request_id, _OPERATION)]
    for tag, name, values in (*first, *attributes):
        for number, value in enumerate(values):
            octets = value.encode("utf-8", "replace")
            if tag == _NAME:
                octets = octets[:_MAX_NAME].decode("utf-8", "ignore").encode()  # no half of a letter
            shown = b"" if number else name.encode("ascii")
            pieces.append(struct.pack(">BH", tag, len(shown)) + shown + struct.pack(">H", len(octets)) + octets)
    pieces.append(bytes((_END,)))
    return b"".join(pieces)
