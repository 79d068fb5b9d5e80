"""Where a printer is."""

from __future__ import annotations

import pytest

from lanpost.errors import InvalidValue
from lanpost.model.endpoint import Endpoint
from lanpost.model.printer_url import PrinterUrl


@pytest.mark.parametrize(
    ("text", "endpoint", "shown"),
    [
        ("ipp://10.0.0.5/printers/office", Endpoint("10.0.0.5", 631), "ipp://10.0.0.5/printers/office"),
        ("ipp://10.0.0.5:6310/ipp/print", Endpoint("10.0.0.5", 6310), "ipp://10.0.0.5:6310/ipp/print"),
        ("ipp://[fd00::5]/ipp/print", Endpoint("fd00::5", 631), "ipp://[fd00::5]/ipp/print"),
        ("ipps://10.0.0.5/ipp/print", Endpoint("10.0.0.5", 631), "ipps://10.0.0.5/ipp/print"),
        ("ipp://10.0.0.5", Endpoint("10.0.0.5", 631), "ipp://10.0.0.5/"),
    ],
)
def test_a_printer_is_named_by_its_ip(text: str, endpoint: Endpoint, shown: str) -> None:
    url = PrinterUrl.parse(text)
    assert (url.endpoint, str(url)) == (endpoint, shown)


@pytest.mark.parametrize(
    "text",
    [
        "ipp://printer.office.lan/ipp/print",
        "ipp://localhost/ipp/print",
        "http://10.0.0.5/ipp/print",
        "10.0.0.5",
        "ipp://me:secret@10.0.0.5/ipp/print",
        "ipp://10.0.0.5:70000/",
        "ipp://10.0.0.5/a b",
        "ipp://[fd00::5/",
        "",
    ],
)
def test_anything_else_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(InvalidValue, match="write a printer as ipp://"):
        PrinterUrl.parse(text)
