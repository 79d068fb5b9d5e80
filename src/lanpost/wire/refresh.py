"""The refresh request: one datagram in which a registrar asks terminals to register again.

After the boot time stamp of SLPv2 (RFC 2608 §12.2), signed by Ed25519 (RFC 8032). At most 512 octets, in network
order:

    "LPR" 1 | server 8 | epoch 8 | sequence 8 | window 4 | count 1 | count targets of 8 | signature 64

`server` is the beginning of the SHA-256 of the registrar's public key; a target that of an address's key together
with it. No target means everyone. It says nothing of where to register: terminals know that.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lanpost.errors import InvalidRefresh

MAX_OCTETS: Final = 512
MAX_WINDOW_SECONDS: Final = 3600.0  # a longer one would leave the chart wrong for longer than mail can wait
PROOF_HEADER: Final = "Lanpost-Refresh"  # of a registration: the request that the terminal obeyed last, in base64
MAX_NUMBER: Final = 2**64 - 1

_MAGIC = b"LPR\x01"
_VERSION_AT = 3
_HEAD = struct.Struct("!4s8sQQIB")
_NAME = 8  # octets of a server and of a target
_SIGNATURE = 64
MAX_TARGETS: Final = (MAX_OCTETS - _HEAD.size - _SIGNATURE) // _NAME


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """What is asked. Of two requests of one server the later has the greater (epoch, sequence).

    Raises InvalidRefresh where it does not fit into a datagram.
    """

    server: bytes  # `server_id` of the public key
    epoch: int
    sequence: int
    window: float  # seconds; each terminal waits for a random part of it
    targets: tuple[bytes, ...] = ()  # `target_of` each; none: everyone

    def __post_init__(self) -> None:
        if not (0 <= self.epoch <= MAX_NUMBER and 0 <= self.sequence <= MAX_NUMBER):
            raise InvalidRefresh("a number of a refresh request has 64 bits")
        if not 0 <= self.window <= MAX_WINDOW_SECONDS:
            raise InvalidRefresh(f"the window of a refresh request has 0 to {MAX_WINDOW_SECONDS:g} s")
        if len(self.targets) > MAX_TARGETS:
            raise InvalidRefresh(f"a refresh request names {MAX_TARGETS} terminals at most, or everyone")
        if {len(self.server), *map(len, self.targets)} != {_NAME}:
            raise InvalidRefresh(f"a name in a refresh request has {_NAME} octets")

    @property
    def number(self) -> tuple[int, int]:
        """What later requests have a greater one of."""
        return self.epoch, self.sequence

    def names(self, target: bytes) -> bool:
        """Whether that terminal is asked."""
        return not self.targets or target in self.targets

    def encode(self, sign: Callable[[bytes], bytes]) -> bytes:
        """The datagram. `sign` gives the Ed25519 signature of its argument."""
        window = round(self.window * 1000)
        head = _HEAD.pack(_MAGIC, self.server, self.epoch, self.sequence, window, len(self.targets))
        signed = head + b"".join(self.targets)
        return signed + sign(signed)


@dataclass(frozen=True, slots=True)
class SignedRefresh:
    """A datagram as it came: nothing in it is to be believed before its signature was verified."""

    request: RefreshRequest
    signed: bytes  # what the signature is of
    signature: bytes

    @staticmethod
    def read(datagram: bytes) -> SignedRefresh:
        """Cheap, and checks no signature. Raises InvalidRefresh for what is no refresh request."""
        if len(datagram) > MAX_OCTETS:
            raise InvalidRefresh(f"more than {MAX_OCTETS} octets")
        if len(datagram) < _HEAD.size + _SIGNATURE or datagram[:_VERSION_AT] != _MAGIC[:_VERSION_AT]:
            raise InvalidRefresh("no refresh request")
        if datagram[_VERSION_AT] != _MAGIC[_VERSION_AT]:
            raise InvalidRefresh(f"a refresh request of version {datagram[_VERSION_AT]}")
        _, server, epoch, sequence, window, count = _HEAD.unpack_from(datagram)
        end = _HEAD.size + count * _NAME
        if len(datagram) != end + _SIGNATURE:
            raise InvalidRefresh("a refresh request whose length does not fit its count")
        targets = tuple(datagram[at : at + _NAME] for at in range(_HEAD.size, end, _NAME))
        request = RefreshRequest(server, epoch, sequence, window / 1000, targets)
        return SignedRefresh(request, datagram[:end], datagram[end:])


def server_id(public_key: bytes) -> bytes:
    """How a registrar is named in its requests: by its raw Ed25519 public key, 32 octets."""
    return hashlib.sha256(public_key).digest()[:_NAME]


def target_of(server: bytes, key: str) -> bytes:
    """How a terminal is named in them: by the key of its mail address, which listeners cannot read from it."""
    return hashlib.sha256(server + key.encode()).digest()[:_NAME]
