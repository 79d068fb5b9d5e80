"""Which refresh requests a terminal obeys: its own registrar's, each once, rarely. Pure; time is an argument.

What can be seen to be of no use costs no check of a signature, and checks are few however many datagrams come.
A request is accepted only when its number is greater than that of the last one, which is remembered for ever: no
clock is needed, and a recorded request does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from lanpost.errors import InvalidRefresh
from lanpost.wire.refresh import SignedRefresh, server_id, target_of

REST_SECONDS = 60.0  # from one answer to the next
CHECKS_PER_SECOND, CHECKS_AT_ONCE = 10.0, 20.0  # of a signature; one takes a tenth of a millisecond
Number = tuple[int, int]


class Verdict(Enum):
    """What became of a datagram."""

    INVALID = "no refresh request"
    STRANGER = "of another registrar"
    OLD = "not newer than the last"
    OTHERS = "asks others"
    BUSY = "too many to check"
    FORGED = "the signature is wrong"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A genuine request to this terminal. `number` is to be stored before anything is done about it."""

    number: Number
    window: float  # seconds
    datagram: bytes


class RefreshGuard:
    """For one registrar's public key and one terminal. `verify(signature, signed)` is the Ed25519 check."""

    def __init__(
        self, public_key: bytes, address_key: str, last: Number, verify: Callable[[bytes, bytes], bool]
    ) -> None:
        """`last`: the number of the request accepted last, (0, 0) for none."""
        self._server = server_id(public_key)
        self._target = target_of(self._server, address_key)
        self._verify = verify
        self._checks = CHECKS_AT_ONCE
        self._checks_at = 0.0
        self._answer_at: float | None = None
        self.last = last
        self.counts = dict.fromkeys(Verdict, 0)

    def take(self, datagram: bytes, now: float) -> Accepted | None:
        """What is to be obeyed; None for everything else, of whatever kind. `now`: seconds, monotonic."""
        verdict, accepted = self._judge(datagram, now)
        self.counts[verdict] += 1
        return accepted

    def answer_in(self, window: float, now: float, chance: float) -> float | None:
        """Seconds until an accepted request is answered; None: an answer that is due later will do for it, too.

        `chance` is uniform in 0..1. Answers are a minute apart at least.
        """
        if self._answer_at is not None and self._answer_at > now:
            return None
        at = now + chance * window
        if self._answer_at is not None:
            at = max(at, self._answer_at + REST_SECONDS)
        self._answer_at = at
        return at - now

    def _judge(self, datagram: bytes, now: float) -> tuple[Verdict, Accepted | None]:
        try:
            read = SignedRefresh.read(datagram)
        except InvalidRefresh:
            return Verdict.INVALID, None
        request = read.request
        if request.server != self._server:
            return Verdict.STRANGER, None
        if request.number <= self.last:
            return Verdict.OLD, None
        if not request.names(self._target):
            return Verdict.OTHERS, None
        if not self._may_check(now):
            return Verdict.BUSY, None
        if not self._verify(read.signature, read.signed):
            return Verdict.FORGED, None
        self.last = request.number
        return Verdict.ACCEPTED, Accepted(request.number, request.window, datagram)

    def _may_check(self, now: float) -> bool:
        passed = max(0.0, now - self._checks_at)
        self._checks = min(CHECKS_AT_ONCE, self._checks + passed * CHECKS_PER_SECOND)
        self._checks_at = now
        if self._checks < 1:
            return False
        self._checks -= 1
        return True
