"""How each kind of setting is written in TOML, and what a wrong one should have been.

A reader takes the TOML value and returns ours, or raises ValueError whose text is the remedy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanpost.errors import InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.directory_url import DirectoryUrl
from lanpost.model.duration import parse_duration
from lanpost.model.endpoint import SMTP_PORT, Endpoint
from lanpost.model.fax_number import normal
from lanpost.model.networks import Network
from lanpost.model.printer_url import PrinterUrl
from lanpost.model.token import check_url

Reader = Callable[[Any], Any]

_LIST_READERS: set[Reader] = set()  # those that read a list

_OCTETS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_PLAIN_FILE = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+\Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SIZE = re.compile(r"(\d+)\s*(KiB|MiB|GiB|KB|MB|GB|B|)\Z")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a listener waits: an IP literal, 0.0.0.0 and :: included, and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def setting(reader: Reader, *default: Any) -> Any:
    """A dataclass field with its reader; the default is written as the file would have it."""
    several = reader in _LIST_READERS
    written = list(default) if several else default[0]
    return field(default=reader(written), metadata={"read": reader, "written": written})


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write a text in quotes")  # noqa: TRY004
    return value


def texts(value: Any) -> tuple[str, ...]:
    return tuple(text(item) for item in _list(value))


def urls(value: Any) -> tuple[str, ...]:
    for url in texts(value):
        check_url(url)
    return texts(value)


def directory_urls(value: Any) -> tuple[str, ...]:
    for url in texts(value):
        DirectoryUrl.parse_server(url)
    return texts(value)


def one_of(*words: str) -> Reader:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError("write one of " + ", ".join(f'"{word}"' for word in words))
        return str(value)

    return read


def some_of(*words: str) -> Reader:
    def read(value: Any) -> tuple[str, ...]:
        found = texts(value)
        if not set(found) <= set(words):
            raise ValueError("write some of " + ", ".join(f'"{word}"' for word in words) + ", or []")
        return tuple(dict.fromkeys(found))

    _LIST_READERS.add(read)
    return read


def terminal_name(value: Any) -> str:
    try:
        if text(value):
            MailAddress.parse(value, "name.invalid")
    except InvalidValue:
        raise ValueError('write a terminal name or a mail address, as "fax1" or "fax1@office.lan"') from None
    return str(value)


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false, without quotes")  # noqa: TRY004
    return value


def count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("write a whole number of at least 1")
    return value


def whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("write a whole number, 0 or more")
    return value


def percent(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100:
        raise ValueError("write a whole number from 1 to 100")
    return value


def port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError("write a port number from 1 to 65535")
    return value


def ports(value: Any) -> tuple[int, ...]:
    return tuple(port(item) for item in _list(value))


def workers(value: Any) -> int:
    if value == "auto":
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 256:
        raise ValueError('write "auto" or a whole number from 1 to 256')
    return value


def duration(value: Any) -> float:
    """Seconds."""
    return parse_duration(value)


def size(value: Any) -> int:
    """Octets."""
    found = _SIZE.match(value) if isinstance(value, str) else None
    if found:
        return int(found[1]) * _OCTETS[found[2]]
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError('write a size with its unit, as "500KB", "50MB" or "1GB"')


def path(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError('write a folder in quotes, as "/var/lib/lanpost"')
    return Path(value).expanduser()


def plain_file(value: Any) -> Path:
    """A path that stands in a shell script, too."""
    if not isinstance(value, str) or not _PLAIN_FILE.match(value):
        raise ValueError('write an absolute path of letters, digits and "._-/", as "/run/lanpost-address-hook"')
    return Path(value)


def domain(value: Any) -> str:
    try:
        MailAddress.parse(f"x@{text(value)}")
    except InvalidValue:
        raise ValueError('write the domain of your mail addresses, as "office.lan"') from None
    return str(value).lower()


def endpoint_text(value: Any) -> str:
    return _endpoint_text(value, SMTP_PORT)


def endpoint_as_given(value: Any) -> str:
    """Without a port where there is none: which one is meant depends on what is said there."""
    _endpoint_text(value, SMTP_PORT)
    return str(value)


def pop3_text(value: Any) -> str:
    """Where POP3 is spoken: port 110 unless it says another (RFC 1939 §3)."""
    return _endpoint_text(value, 110)


def _endpoint_text(value: Any, default_port: int) -> str:
    if text(value) == "":
        return ""
    try:
        return str(Endpoint.parse(value, default_port))
    except InvalidValue as error:
        raise ValueError(str(error)) from None


def fax_number(value: Any) -> str:
    found = normal(text(value)) if text(value) else ""
    if found is None:
        raise ValueError('write a fax number, as "+81312345678"')
    return found


def fingerprint(value: Any) -> str:
    """SHA-256 of a certificate, in lower-case hex; with or without colons."""
    found = text(value).replace(":", "").lower()
    if found and not _SHA256.match(found):
        raise ValueError("write the SHA-256 of the certificate, 64 hexadecimal digits")
    return found


def printer_url(value: Any) -> str:
    if text(value) == "":
        return ""
    try:
        return str(PrinterUrl.parse(value))
    except InvalidValue as error:
        raise ValueError(str(error)) from None


def ip_text(value: Any) -> str:
    if text(value) == "":
        return ""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError('write an IP address in quotes, as "10.0.0.7"') from None


def listens(value: Any) -> tuple[Listen, ...]:
    return tuple(_listen(item) for item in _list(value))


def networks(value: Any) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text(item)) for item in _list(value))
    except ValueError as error:
        raise ValueError(f'{error}; write networks as ["10.0.0.0/8", "fd00::/8"]') from None


def hosts(value: Any) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_address(text(item))) for item in _list(value))
    except ValueError:
        raise ValueError('write IP addresses in quotes, as ["10.1.255.255", "10.2.0.7"]') from None


_LIST_READERS.update((texts, urls, directory_urls, ports, listens, networks, hosts))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("write a list in brackets")  # noqa: TRY004
    return value


def _listen(value: Any) -> Listen:
    host, colon, number = text(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        colon = ""
    if not (colon and number.isascii() and number.isdigit() and int(number[:6]) < 65536):
        raise ValueError(f'{value!r}: write an IP address and a port, as "0.0.0.0:25" or "[::]:25"')
    return Listen(str(address), int(number))
