"""Mail addresses and terminal names, and when two of them are the same.

Raises InvalidAddress, never anything else, on whatever text it is given.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from lanpost.errors import InvalidAddress

MAX_LOCAL = 64  # octets (RFC 5321 §4.5.3.1.1)
MAX_DOMAIN = 255  # octets (RFC 5321 §4.5.3.1.2)

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_DOT_STRING = re.compile(rf"[\u0080-\U0010ffff{_ATEXT}]+(?:\.[\u0080-\U0010ffff{_ATEXT}]+)*\Z")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)"\Z')
_DOMAIN = re.compile(
    r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9_\u0080-\U0010ffff-]*[A-Za-z0-9\u0080-\U0010ffff])?"
    r"(?:\.[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9_\u0080-\U0010ffff-]*[A-Za-z0-9\u0080-\U0010ffff])?)*\Z"
)
# Letters, digits and the like only; "xn--" and whatever else looks like it is for closer inspection.
_LABEL = r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_PLAIN = re.compile(rf"([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)@({_LABEL}(?:\.{_LABEL})*)\Z")
_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f:.]+)\]\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MailAddress:
    """`local@domain`, as it was written, and the key by which it is compared.

    Two spellings of one address (case, width, composed or not, `xn--` or not) have equal keys and are equal.
    `local` is without quotes; `str()` puts them back where needed.
    """

    local: str
    domain: str  # as written, or a literal: "[10.0.0.7]"
    key: str

    @staticmethod
    def parse(text: str, default_domain: str = "") -> MailAddress:
        """Read `local@domain`, or a bare name, which stands for name@default_domain.

        Raises InvalidAddress. Sources: RFC 5321 §4.1.2 (Mailbox), RFC 6531 §3.3 (UTF-8 in both parts).
        """
        return _parse(text, default_domain)

    @property
    def is_literal(self) -> bool:
        """The domain is an address literal (RFC 5321 §4.1.3)."""
        return self.domain.startswith("[")

    @property
    def literal_host(self) -> str:
        """The IP that an address literal names, canonical; "" for an ordinary domain."""
        found = _LITERAL.match(self.domain)
        return str(ipaddress.ip_address(found[2])) if found else ""

    @property
    def needs_smtputf8(self) -> bool:
        """It cannot be written in ASCII (RFC 6531 §3.2)."""
        return not (self.local.isascii() and self.domain.isascii())

    def __str__(self) -> str:
        local = self.local
        if not _DOT_STRING.match(local):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}"

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, MailAddress) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=16384)  # a server sees the same few addresses again and again
def _parse(text: str, default_domain: str) -> MailAddress:
    if plain := _PLAIN.match(text):  # by far the most addresses: nothing to decide about them
        local, domain = plain.groups()
        if len(local) <= MAX_LOCAL and len(domain) <= MAX_DOMAIN:
            return MailAddress(local, domain, text.lower())
    local, domain = _split(text, default_domain)
    if len(domain.encode("utf-8", "replace")) > MAX_DOMAIN:
        raise InvalidAddress(f"the domain of {_shown(text)} is longer than {MAX_DOMAIN} octets")
    if not local or len(local.encode("utf-8", "replace")) > MAX_LOCAL:
        raise InvalidAddress(f"the part before @ in {_shown(text)} must have 1 to {MAX_LOCAL} octets")
    if domain.startswith("["):
        domain_key = _literal_key(domain, text)
    elif _DOMAIN.match(domain):
        domain_key = domain.lower() if _is_plain(domain) else _unicode_domain_key(domain, text)
    else:
        raise InvalidAddress(f"{_shown(text)} has no usable domain after the @")
    local_key = local.lower() if local.isascii() else _unicode_key(local, text)
    return MailAddress(local, domain, f"{local_key}@{domain_key}")


def _split(text: str, default_domain: str) -> tuple[str, str]:
    if text.startswith('"'):
        # Only the @ behind the closing quote divides.
        quoted, at, domain = text.rpartition("@")
        if not at or not quoted.endswith('"'):
            quoted, domain = text, default_domain
        found = _QUOTED.match(quoted)
        if not found:
            raise InvalidAddress(f"{_shown(text)} has a quoted part that does not end as RFC 5321 wants it")
        return re.sub(r"\\(.)", r"\1", found[1]), domain
    local, at, domain = text.rpartition("@")
    if not at:
        local, domain = text, default_domain
        if not default_domain:
            raise InvalidAddress(f"{_shown(text)} has no @ and there is no default domain")
    if not _DOT_STRING.match(local):
        raise InvalidAddress(f"{_shown(text)} is not a mail address (local@domain) or a terminal name")
    return local, domain


def _is_plain(domain: str) -> bool:
    return domain.isascii() and "xn--" not in domain.lower()


def _literal_key(domain: str, text: str) -> str:
    found = _LITERAL.match(domain)
    try:
        if not found:
            raise ValueError  # noqa: TRY301
        address = ipaddress.ip_address(found[2])
        if bool(found[1]) != (address.version == 6):
            raise ValueError  # noqa: TRY301
    except ValueError:
        raise InvalidAddress(f"{_shown(text)}: {domain} is not an address literal") from None
    return f"[{address}]"


def _unicode_key(text: str, whole: str) -> str:
    """RFC 8265 §3.3 (UsernameCaseMapped): width mapped, lower case, NFC; controls refused."""
    mapped = "".join(
        unicodedata.normalize("NFKC", char)
        if unicodedata.decomposition(char).startswith(("<wide>", "<narrow>"))
        else char
        for char in text
    )
    key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", mapped).lower())
    if any(unicodedata.category(char) in ("Cc", "Cs", "Cn", "Zs", "Zl", "Zp") for char in key):
        raise InvalidAddress(f"{_shown(whole)} holds a character that no mail address may hold")
    return key


def _unicode_domain_key(domain: str, whole: str) -> str:
    labels = []
    for label in domain.lower().split("."):
        if label.startswith("xn--"):
            try:
                labels.append(label[4:].encode("ascii").decode("punycode"))
            except (UnicodeError, OverflowError, ValueError):
                raise InvalidAddress(f"{_shown(whole)}: {label} is not an A-label (RFC 5890)") from None
        else:
            labels.append(label)
    return _unicode_key(".".join(labels), whole)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
