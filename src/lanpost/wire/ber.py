"""The part of BER that LDAP allows (RFC 4511 §5.1): definite lengths, primitive strings, tags of one octet.

Readers take octets and offsets, and never look past `end`. Whatever cannot be read raises LdapProtocolError, and
nothing else does. Writers make the shortest form.
"""

from __future__ import annotations

from typing import Final

from lanpost.errors import InvalidLdapValue, LdapProtocolError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
OCTETS: Final = 0x04
ENUMERATED: Final = 0x0A
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONSTRUCTED: Final = 0x20

MAX_INTEGER: Final = 2**31 - 1  # RFC 4511 §4.1.1
MAX_LENGTH_OCTETS: Final = 4  # of a length in its long form; its value may be written with zeros in front
MAX_INTEGER_OCTETS: Final = 4
MAX_HEADER: Final = 2 + MAX_LENGTH_OCTETS
MAX_ELEMENTS: Final = 10_000  # in one message; the largest we know of, a modify of a thousand attributes, has 5,000
MAX_NESTING: Final = 64  # of elements; a filter as deep as we take it has 20


def read_header(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Of the element at `at`: its tag, where its contents begin, where they end."""
    start = at + 2
    if start > end:
        raise LdapProtocolError("an element is cut short")
    tag = data[at]
    if tag & 0x1F == 0x1F:
        raise LdapProtocolError("a tag of more than one octet")
    length = data[at + 1]
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= MAX_LENGTH_OCTETS:
            raise LdapProtocolError("an indefinite length" if count == 0 else f"a length of {count} octets")
        start += count
        if start > end:
            raise LdapProtocolError("a length is cut short")
        length = int.from_bytes(data[start - count : start], "big")
    stop = start + length
    if stop > end:
        raise LdapProtocolError("an element is longer than what holds it")
    return tag, start, stop


def message_end(data: bytes, at: int, available: int, limit: int) -> int:
    """Where the message that begins at `at` ends, also where that is not here yet; -1 when its length is not.

    `available` is where the received octets end, `limit` the most octets that the message may take.
    """
    if available - at < 2:
        if available > at and data[at] != SEQUENCE:
            raise LdapProtocolError("not a message of LDAP")
        return -1
    if data[at] != SEQUENCE:
        raise LdapProtocolError("not a message of LDAP")
    length = data[at + 1]
    start = at + 2
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= MAX_LENGTH_OCTETS:
            raise LdapProtocolError("an indefinite length" if count == 0 else f"a length of {count} octets")
        start += count
        if start > available:
            return -1
        length = int.from_bytes(data[start - count : start], "big")
    if start + length - at > limit:
        raise LdapProtocolError(f"a message of {start + length - at} octets, {limit} are allowed")
    return start + length


def check_elements(data: bytes, at: int, end: int) -> None:
    """Refuses more than MAX_ELEMENTS, or deeper nesting than MAX_NESTING, before anything is made of them."""
    count = 0
    ends = [end]
    while ends:
        if at == ends[-1]:
            ends.pop()
            continue
        tag, start, stop = read_header(data, at, ends[-1])
        count += 1
        if count > MAX_ELEMENTS:
            raise LdapProtocolError(f"a message of more than {MAX_ELEMENTS} elements")
        if tag & CONSTRUCTED:
            if len(ends) >= MAX_NESTING:
                raise LdapProtocolError("elements are nested too deep")
            ends.append(stop)
            at = start
        else:
            at = stop


def read_expected(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Where the contents of an element begin and end, whose tag must be this one."""
    start = at + 2
    if start <= end and data[at] == tag and (length := data[at + 1]) < 0x80 and start + length <= end:
        return start, start + length  # nearly always
    found, start, stop = read_header(data, at, end)
    if found != tag:
        raise LdapProtocolError(f"tag {found:#04x} instead of {tag:#04x}")
    return start, stop


def read_octets(data: bytes, at: int, end: int, tag: int = OCTETS) -> tuple[bytes, int]:
    """An octet string, and where the next element begins."""
    start, stop = read_expected(data, at, end, tag)
    return data[start:stop], stop


def read_text(data: bytes, at: int, end: int, tag: int = OCTETS) -> tuple[str, int]:
    """A string of UTF-8, and where the next element begins."""
    start, stop = read_expected(data, at, end, tag)
    return text_of(data[start:stop]), stop


def text_of(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise InvalidLdapValue("a text that is not UTF-8") from error


def read_integer(data: bytes, at: int, end: int, tag: int = INTEGER) -> tuple[int, int]:
    """A number of 32 bits, and where the next element begins."""
    start, stop = read_expected(data, at, end, tag)
    return integer_of(data, start, stop), stop


def integer_of(data: bytes, start: int, stop: int) -> int:
    if not 1 <= stop - start <= MAX_INTEGER_OCTETS:
        raise LdapProtocolError(f"a number of {stop - start} octets")
    return int.from_bytes(data[start:stop], "big", signed=True)


def read_boolean(data: bytes, at: int, end: int, tag: int = BOOLEAN) -> tuple[bool, int]:
    """A truth value, and where the next element begins. Anything but 0 is true, though we write 0xFF only."""
    start, stop = read_expected(data, at, end, tag)
    if stop - start != 1:
        raise LdapProtocolError("a truth value that is not one octet")
    return data[start] != 0, stop


def element(tag: int, contents: bytes) -> bytes:
    """An element with its header."""
    length = len(contents)
    return b"%c%c%b" % (tag, length, contents) if length < 0x80 else header(tag, length) + contents


def header(tag: int, length: int) -> bytes:
    if length < 0x80:
        return bytes((tag, length))
    if length < 0x100:
        return bytes((tag, 0x81, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


_STRING_HEADERS: Final = tuple(bytes((OCTETS, length)) for length in range(0x80))


def octets(value: bytes) -> bytes:
    """An octet string with its header."""
    length = len(value)
    return (_STRING_HEADERS[length] if length < 0x80 else header(OCTETS, length)) + value


def text(value: str) -> bytes:
    """A string of UTF-8 with its header."""
    return octets(value.encode())


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A number with its header, in as few octets as it takes."""
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return bytes((tag, size)) + value.to_bytes(size, "big", signed=True)


def boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    return bytes((tag, 1, 0xFF if value else 0))
