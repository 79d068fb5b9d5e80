"""The chart as XML, written: a head, a line for each entry, a tail.

Every line between head and tail is whole elements and nothing else. So a document with our head and tail, of which
each line is well-formed by itself, is well-formed as a whole, and a changed one can be read by its changed lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lanpost.content.chart_record import time_text
from lanpost.errors import InvalidValue
from lanpost.model.binding import Binding, Entry

NAMESPACE_OF_ANY_VERSION = "urn:lanpost:chart:"
NAMESPACE = f"{NAMESPACE_OF_ANY_VERSION}1"
HEAD = f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- The chart of lanpost: docs/chart-xml.md tells how to edit it by hand. lanpost writes the whole file anew at
     every change, by address: comments other than this one are lost then. -->
<chart xmlns="{NAMESPACE}">
"""
TAIL = "</chart>\n"

# What XML 1.0 cannot hold however it is written (XML 1.0 §2.2).
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NEEDS_ESCAPE = re.compile(r'[&<>"\t\n\r]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def line_of(entry: Entry) -> str:
    """The entry's line, without its end. Raises InvalidValue where XML cannot hold it."""
    inside = _endpoint(entry.binding) if entry.binding else ""
    for name, value in entry.details:
        inside += f'<detail name="{name}">{_escaped(value)}</detail>'
    start = f'  <terminal address="{_escaped(str(entry.address))}"'
    return f"{start}>{inside}</terminal>" if inside else f"{start}/>"


def _endpoint(binding: Binding) -> str:
    endpoint = binding.endpoint
    zone = f' zone="{endpoint.zone}"' if endpoint.zone else ""
    expires = f' expires="{time_text(binding.expires)}"' if binding.expires else ""
    owner = ""
    if binding.owner:
        if not binding.owner.isprintable():  # a hand could not write it: the reader refuses it
            raise InvalidValue(f"{binding.address}: XML cannot hold the owner {binding.owner[:40]!r}")
        owner = f' owner="{_escaped(binding.owner)}"'
    proof = f' proof="{_escaped(str(binding.proof))}"' if binding.proof else ""
    return (
        f'<endpoint host="{endpoint.host}" port="{endpoint.port}"{zone} updated="{time_text(binding.updated)}"'
        f'{expires} source="{binding.source.value}"{owner}{proof}/>'
    )


def _escaped(text: str) -> str:
    if _UNWRITABLE.search(text):
        raise InvalidValue(f"XML cannot hold {text[:40]!r}")
    if _NEEDS_ESCAPE.search(text):
        return _NEEDS_ESCAPE.sub(lambda found: _ESCAPES[found[0]], text)
    return text


class XmlWriter:
    """Writes a chart as `chart_xml` reads it, by calling `write` with pieces of text."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        write(HEAD)

    def put(self, entry: Entry) -> None:
        self._write(line_of(entry) + "\n")

    def end(self) -> None:
        self._write(TAIL)
