"""What a session of LDAP has received and not read yet, cut into messages."""

from __future__ import annotations

from lanpost.wire.ber import INTEGER, MAX_HEADER, SEQUENCE, message_end, read_expected, read_header
from lanpost.wire.ldap_decode import decode_at
from lanpost.wire.ldap_messages import Message


class LdapBuffer:
    """Octets in, messages out, in time proportional to the octets however they were cut: a chunk that holds many
    messages is not copied for each of them, and a message that came in many chunks is joined once."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0  # where in `_data` the next message begins
        self._later = bytearray()  # what came behind `_data`
        self._end = 0  # of the message at `_at`, where it is known; it may be past what is here

    def __len__(self) -> int:
        return len(self._data) - self._at + len(self._later)

    def append(self, data: bytes) -> None:
        if not self._data and not self._later:
            self._data = bytes(data)
        else:
            self._later += data

    def clear(self) -> None:
        self._data, self._at, self._end = b"", 0, 0
        self._later.clear()

    def next_tag(self, limit: int) -> int | None:
        """The operation of the next message, which stays; None while it is not here. Raises LdapProtocolError."""
        end = self._find_end(limit)
        if end < 0:
            return None
        start, stop = read_expected(self._data, self._at, end, SEQUENCE)
        start = read_expected(self._data, start, stop, INTEGER)[1]
        return read_header(self._data, start, stop)[0]

    def next_message(self, limit: int) -> Message | None:
        """The next message, of `limit` octets at most; None while it is not here.

        LdapProtocolError: it cannot be read. It has been passed over when it was InvalidLdapValue.
        """
        end = self._find_end(limit)
        if end < 0:
            return None
        data, at = self._data, self._at
        self._at, self._end = end, 0
        if end == len(data):
            self._data, self._at = b"", 0  # a connection that is silent afterwards holds nothing
        return decode_at(data, at, end)

    def _find_end(self, limit: int) -> int:
        """Where in `_data` the next message ends; -1 while it is not here."""
        while True:
            end = self._end or message_end(self._data, self._at, len(self._data), limit)
            if 0 <= end <= len(self._data):
                self._end = end
                return end
            needed = end - self._at if end >= 0 else min(len(self._data) - self._at + 1, MAX_HEADER)
            if len(self) < needed:
                self._end = max(end, 0)
                return -1
            self._data = self._data[self._at :] + self._later
            self._later.clear()
            self._at = self._end = 0
