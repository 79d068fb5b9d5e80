"""Where a printer is: `ipp://10.0.0.5/printers/office` (RFC 3510 §4), or `ipps://` by TLS (RFC 7472 §4).

Never a host name.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from lanpost.errors import InvalidEndpoint, InvalidValue
from lanpost.model.endpoint import Endpoint

IPP_PORT = 631
_REMEDY = "write a printer as ipp://10.0.0.5/printers/office, with an IP address"


@dataclass(frozen=True, slots=True)
class PrinterUrl:
    """`str()` is what the printer is told as its `printer-uri`."""

    endpoint: Endpoint
    path: str
    by_tls: bool = False

    @staticmethod
    def parse(text: str) -> PrinterUrl:
        """Raises InvalidValue with the remedy."""
        try:
            parts = urlsplit(text)
            port = parts.port or IPP_PORT
            host = parts.hostname or ""
            endpoint = Endpoint.parse(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except (ValueError, InvalidEndpoint):
            raise InvalidValue(f"{text[:120]!r} names no IP address; {_REMEDY}") from None
        path = parts.path or "/"
        if parts.scheme not in ("ipp", "ipps") or parts.query or parts.fragment or parts.username is not None:
            raise InvalidValue(f"{text[:120]!r} is no such URL; {_REMEDY}")
        if not (path.isascii() and path.isprintable() and " " not in path and len(text) <= 1000):
            raise InvalidValue(f"{text[:120]!r}: the path must be plain ASCII; {_REMEDY}")
        return PrinterUrl(endpoint, path, parts.scheme == "ipps")

    def __str__(self) -> str:
        port = "" if self.endpoint.port == IPP_PORT else f":{self.endpoint.port}"
        host = f"[{self.endpoint.host}]" if self.endpoint.is_ipv6 else self.endpoint.host
        return f"ipp{'s' if self.by_tls else ''}://{host}{port}{self.path}"
