"""What DHCP servers told a client of mail servers and directories, read from what the client leaves on the disk.

Options 69 (SMTP servers), 70 (POP3 servers; both RFC 2132 §8) and 95 (an LDAP URL; never published, but sent by
many), in three forms: dhclient's lease file, dhcpcd's (the DHCP message itself, RFC 2131 §2), and the lines that
our hook for udhcpc writes.

All of it came over the network from whoever answered first: nothing here raises, what is not a plain IP literal or
URL is left out, and there is a largest number of everything. Standard library only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

MAX_SERVERS = 4  # of an option; a LAN has one, or two
MAX_LEASES = 200  # of a file: dhclient writes down each one that it ever had, the last ones are looked at
MAX_URL = 255  # octets, as DHCP has it

SMTP, POP3, LDAP = 69, 70, 95

_MAGIC = b"\x63\x82\x53\x63"  # RFC 2131 §3
_OPTIONS_AT = 236 + len(_MAGIC)
_YIADDR = slice(16, 20)
_PAD, _END = 0, 255
_DHCLIENT_LEASE = re.compile(r"^lease \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_DHCLIENT_LINE = re.compile(r"^ *(?:option )?([a-z0-9-]+) (.*);$", re.MULTILINE)
# 95 has no name in dhclient; "ldap-server" is what people define.
_DHCLIENT_LDAP = ("ldap-server", "ldap-url", "unknown-95")
_HOOK_LINE = re.compile(r"^(address|69|70|95)=(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lease:
    """Of one address; it says nothing of whether that is ours now."""

    address: str  # IPv4
    smtp: tuple[str, ...] = ()  # IPv4 literals
    pop3: tuple[str, ...] = ()
    ldap: str = ""  # URL, printable ASCII

    @property
    def hosts(self) -> tuple[str, ...]:
        """Those of 69 and then those of 70."""
        return tuple(dict.fromkeys((*self.smtp, *self.pop3)))


def leases_in(data: bytes) -> tuple[Lease, ...]:
    """The leases that tell of any server, the last one first, in whichever form they are."""
    if data[_OPTIONS_AT - len(_MAGIC) : _OPTIONS_AT] == _MAGIC:
        found: Iterable[Lease] = _message(data)
    else:
        text = data.decode("utf-8", "replace")
        found = _dhclient(text) if "lease {" in text else _hook(text)
    return tuple(lease for lease in reversed(list(found)) if lease.hosts or lease.ldap)


def _dhclient(text: str) -> Iterator[Lease]:
    for body in _DHCLIENT_LEASE.findall(text)[-MAX_LEASES:]:
        values = dict(_DHCLIENT_LINE.findall(body))
        address = _literals([values.get("fixed-address", "")])
        if address:
            ldap = next((_unquoted(values[name]) for name in _DHCLIENT_LDAP if name in values), "")
            smtp, pop3 = (values.get(name, "").split(",") for name in ("smtp-server", "pop-server"))
            yield Lease(address[0], _literals(smtp), _literals(pop3), ldap)


def _unquoted(value: str) -> str:
    """A string of dhclient's: in quotes, or as hex octets where it would not print."""
    if value.startswith('"'):
        return _url(value[1:-1]) if value.endswith('"') and "\\" not in value else ""
    try:
        return _url_of(bytes(int(each, 16) for each in value.split(":")))
    except ValueError:
        return ""


def _hook(text: str) -> Iterator[Lease]:
    values = dict(_HOOK_LINE.findall(text))
    address = _literals([values.get("address", "")])
    if address:
        options = {}
        for code in (SMTP, POP3, LDAP):
            try:
                options[code] = bytes.fromhex(values.get(str(code), ""))
            except ValueError:
                continue
        yield _lease(address[0], options)


def _message(data: bytes) -> Iterator[Lease]:
    options: dict[int, bytes] = {}
    at = _OPTIONS_AT
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 1 >= len(data):
            break
        code, end = data[at], at + 2 + data[at + 1]
        options[code] = options.get(code, b"") + data[at + 2 : end]  # a long one comes in pieces (RFC 3396 §5)
        at = end
    yield _lease(str(ipaddress.IPv4Address(data[_YIADDR])), options)


def _lease(address: str, options: dict[int, bytes]) -> Lease:
    lease = Lease(address, ldap=_url_of(options.get(LDAP, b"")))
    return replace(lease, smtp=_packed(options.get(SMTP, b"")), pop3=_packed(options.get(POP3, b"")))


def _packed(octets: bytes) -> tuple[str, ...]:
    whole = range(0, len(octets) - len(octets) % 4, 4)
    return _literals(str(ipaddress.IPv4Address(octets[at : at + 4])) for at in whole)


def _literals(texts: Iterable[str]) -> tuple[str, ...]:
    found = []
    for text in texts:
        try:
            address = ipaddress.IPv4Address(text.strip())
        except ValueError:
            continue
        if not (address.is_unspecified or address.is_multicast or address.is_loopback or address.is_reserved):
            found.append(str(address))
    return tuple(dict.fromkeys(found))[:MAX_SERVERS]


def _url_of(octets: bytes) -> str:
    return _url(octets.rstrip(b"\0").decode("ascii", "replace"))


def _url(text: str) -> str:
    usable = len(text) <= MAX_URL and text.isascii() and text.isprintable() and " " not in text
    return text if usable else ""
