"""Extended operations of LDAP: their names, and their values in BER, both ways.

StartTLS and the Notice of Disconnection have no value (RFC 4511 §4.14, §4.4.1). Who Am I (RFC 4532) asks with none
and answers with text: "", `dn:cn=fax1,...` or `u:anna`. Readers raise InvalidLdapValue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lanpost.errors import InvalidLdapValue
from lanpost.wire.ber import SEQUENCE, element, integer, read_expected, read_integer, read_text
from lanpost.wire.ldap_controls import read_value
from lanpost.wire.ldap_operations import NOTICE_OF_DISCONNECTION_OID, START_TLS_OID

REFRESH_OID: Final = "1.3.6.1.4.1.1466.101.119.1"  # RFC 2589
CANCEL_OID: Final = "1.3.6.1.1.8"  # RFC 3909
WHO_AM_I_OID: Final = "1.3.6.1.4.1.4203.1.11.3"  # RFC 4532

_ENTRY_NAME: Final = 0x80
_REQUEST_TTL: Final = 0x81
_RESPONSE_TTL: Final = 0x81


@dataclass(frozen=True, slots=True)
class Refresh:
    """RFC 2589 §4.1: let the dynamic entry live on for so many seconds."""

    name: str
    seconds: int

    @classmethod
    def read(cls, value: bytes | None) -> Refresh:
        return read_value(value, cls._read)

    @classmethod
    def _read(cls, data: bytes, at: int, end: int) -> Refresh:
        at, end = read_expected(data, at, end, SEQUENCE)
        name, at = read_text(data, at, end, _ENTRY_NAME)
        return cls(name, read_integer(data, at, end, _REQUEST_TTL)[0])

    def encode(self) -> bytes:
        name = element(_ENTRY_NAME, self.name.encode())
        return element(SEQUENCE, name + integer(self.seconds, _REQUEST_TTL))


def read_refreshed(value: bytes | None) -> int:
    """RFC 2589 §4.2: the seconds that the server grants."""
    return read_value(value, _read_refreshed)


def _read_refreshed(data: bytes, at: int, end: int) -> int:
    at, end = read_expected(data, at, end, SEQUENCE)
    return read_integer(data, at, end, _RESPONSE_TTL)[0]


def encode_refreshed(seconds: int) -> bytes:
    return element(SEQUENCE, integer(seconds, _RESPONSE_TTL))


def read_cancel(value: bytes | None) -> int:
    """RFC 3909 §2.1: the message id of the operation to be cancelled."""
    return read_value(value, _read_cancel)


def _read_cancel(data: bytes, at: int, end: int) -> int:
    at, end = read_expected(data, at, end, SEQUENCE)
    message_id = read_integer(data, at, end)[0]
    if message_id <= 0:
        raise InvalidLdapValue(f"no operation has message id {message_id}")
    return message_id


def encode_cancel(message_id: int) -> bytes:
    return element(SEQUENCE, integer(message_id))


__all__ = [
    "CANCEL_OID",
    "NOTICE_OF_DISCONNECTION_OID",
    "REFRESH_OID",
    "START_TLS_OID",
    "WHO_AM_I_OID",
    "Refresh",
    "encode_cancel",
    "encode_refreshed",
    "read_cancel",
    "read_refreshed",
]
