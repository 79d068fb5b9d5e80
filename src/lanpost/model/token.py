"""The enrolment token: one line that holds all a terminal needs to find, trust and use its registrar.

    lanpost1.<base64url of JSON: urls, pin, address, secret[, refresh][, ca]>.<8 characters of checksum>

`refresh` is the public key of the registrar's refresh requests. `ca`, the CA certificate itself, is there where one
of the URLs is a directory's: no directory can be asked for it before it is trusted. Other fields are ignored.

The checksum finds a cut or mistyped paste; it is no protection, the whole token is a secret.
Raises InvalidValue, never anything else, on whatever text it is given. Standard library only: the agent uses it.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from lanpost.errors import InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.directory_url import DirectoryUrl, is_directory_url

REGISTRAR_NAME = "registrar.lanpost.internal"  # in every registrar's certificate; never looked up
PREFIX = "lanpost1."
MAX_TOKEN = 8192  # characters; a token with a dozen URLs has about 900, one with our CA certificate 500 more
MAX_URLS = 32
REFRESH_KEY_OCTETS = 32

_CHECKSUM_OCTETS = 6  # 8 characters of base64url
_ANY_VERSION = re.compile(r"lanpost(\d{1,9})\.")
_PIN = re.compile(r"[0-9a-f]{64}\Z")
_SECRET = re.compile(r"[A-Za-z0-9._~+/-]{1,256}=*\Z")  # RFC 6750 §2.1 (b64token): it goes into a header as it is
_AGAIN = "copy the whole line that `lanpost terminal add` printed and paste it again"


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """Where the registrar is, how it is recognised, who the terminal is and how it proves that.

    A token that exists is valid. Raises InvalidValue.
    """

    # "https://10.0.0.2:8025", or "ldaps://10.0.0.5:636/cn=fax1,ou=chart,o=lan": IP literals only; without TLS on
    # loopback only.
    urls: tuple[str, ...]
    pin: str  # SHA-256 of the CA certificate (DER), 64 lower-case hex digits
    address: MailAddress
    secret: str = field(repr=False)
    authority: bytes = field(
        default=b"", repr=False
    )  # the CA certificate (DER); empty where a server is asked for it
    refresh_key: bytes = b""  # Ed25519, raw; empty: from a server that makes no refresh requests

    def __post_init__(self) -> None:
        if not 1 <= len(self.urls) <= MAX_URLS:
            raise InvalidValue(f"an enrolment token names 1 to {MAX_URLS} URLs, not {len(self.urls)}")
        directories = [DirectoryUrl.parse(url) for url in self.urls if is_directory_url(url)]
        for url in self.urls:
            if not is_directory_url(url):
                check_url(url)
        if not _PIN.match(self.pin):
            raise InvalidValue("the pin of an enrolment token must be a SHA-256 in 64 lower-case hex digits")
        if not _SECRET.match(self.secret):
            raise InvalidValue(
                "the secret of an enrolment token must be 1 to 256 characters of A-Z a-z 0-9 . _ ~ + / -"
            )
        if len(self.refresh_key) not in (0, REFRESH_KEY_OCTETS):
            raise InvalidValue(f"the refresh key of an enrolment token has {REFRESH_KEY_OCTETS} octets")
        if self.authority and hashlib.sha256(self.authority).hexdigest() != self.pin:
            raise InvalidValue("the CA certificate in the enrolment token is not the one that its pin names")
        if not self.authority and any(each.is_secure or each.starts_tls for each in directories):
            raise InvalidValue("an enrolment token for a directory holds the CA certificate to trust")

    def encode(self) -> str:
        """The token as one word of ASCII."""
        fields = {"urls": self.urls, "pin": self.pin, "address": str(self.address), "secret": self.secret}
        if self.refresh_key:
            fields["refresh"] = base64.b64encode(self.refresh_key).decode("ascii")
        if self.authority:
            fields["ca"] = base64.b64encode(self.authority).decode("ascii")
        body = PREFIX + _to_text(json.dumps(fields, separators=(",", ":")).encode())
        return f"{body}.{_checksum(body)}"

    @staticmethod
    def decode(text: str) -> EnrolmentToken:
        """Read what `encode` wrote; spaces and line breaks that a paste added do not matter."""
        if len(text) > MAX_TOKEN:
            raise InvalidValue(f"an enrolment token has at most {MAX_TOKEN} characters; {_AGAIN}")
        token = "".join(text.split())
        version = _ANY_VERSION.match(token)
        if not version:
            raise InvalidValue(f"this is not an enrolment token (they begin with {PREFIX}); {_AGAIN}")
        if version[0] != PREFIX:
            raise InvalidValue(
                f"this enrolment token is of version {version[1]}, this lanpost reads version 1; "
                "install the server's version of lanpost here"
            )
        body, dot, checksum = token.rpartition(".")
        if len(body) < len(PREFIX) or not dot or checksum != _checksum(body):
            raise InvalidValue(f"the enrolment token is cut short or altered; {_AGAIN}")
        return _from_fields(body.removeprefix(PREFIX))


def check_url(url: str) -> None:
    """The URL of a registration API: scheme, IP literal, port, nothing else. Raises InvalidValue."""
    shown = repr(url[:80])
    try:
        parts = urlsplit(url)
        port = parts.port
        host = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        raise InvalidValue(
            f"{shown}: write https://, an IP address and a port, as https://10.0.0.2:8025; "
            "host names are not looked up"
        ) from None
    if parts.scheme not in ("https", "http") or parts.username is not None or port == 0 or not url.isprintable():
        raise InvalidValue(f"{shown}: write https://, an IP address and a port, as https://10.0.0.2:8025")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidValue(f"{shown}: nothing may follow the port")
    if parts.scheme == "http" and not host.is_loopback:
        raise InvalidValue(f"{shown}: secrets cross the network under https only; write https://")


def _from_fields(body: str) -> EnrolmentToken:
    try:
        fields: Any = json.loads(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True))
        urls, pin, address, secret = (fields[name] for name in ("urls", "pin", "address", "secret"))
        authority = base64.b64decode(fields.get("ca", ""), validate=True)
        refresh_key = base64.b64decode(fields.get("refresh", ""), validate=True)
    except (ValueError, RecursionError, TypeError, LookupError, AttributeError):
        raise InvalidValue(f"the enrolment token does not hold what it should; {_AGAIN}") from None
    if not isinstance(urls, list) or not all(isinstance(item, str) for item in (*urls, pin, address, secret)):
        raise InvalidValue(f"the enrolment token does not hold what it should; {_AGAIN}")
    return EnrolmentToken(tuple(urls), pin, MailAddress.parse(address), secret, authority, refresh_key)


def _checksum(body: str) -> str:
    return _to_text(hashlib.sha256(body.encode("utf-8", "replace")).digest()[:_CHECKSUM_OCTETS])


def _to_text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode("ascii").rstrip("=")
