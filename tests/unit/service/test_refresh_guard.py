from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lanpost.service.refresh_guard import CHECKS_AT_ONCE, REST_SECONDS, RefreshGuard, Verdict
from lanpost.wire.refresh import RefreshRequest, server_id, target_of

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
SERVER = server_id(PUBLIC)
ME, OTHER = "fax1@office.lan", "fax2@office.lan"


def datagram(sequence: int, *keys: str, epoch: int = 1, signer: Ed25519PrivateKey = KEY) -> bytes:
    targets = tuple(target_of(SERVER, key) for key in keys)
    return RefreshRequest(SERVER, epoch, sequence, 4.0, targets).encode(signer.sign)


class Verifier:
    """Ed25519, counted: what a flood costs."""

    checks = 0

    def __call__(self, signature: bytes, signed: bytes) -> bool:
        self.checks += 1
        try:
            KEY.public_key().verify(signature, signed)
        except InvalidSignature:
            return False
        return True


def guard(last: tuple[int, int] = (0, 0)) -> tuple[RefreshGuard, Verifier]:
    verifier = Verifier()
    return RefreshGuard(PUBLIC, ME, last, verifier), verifier


def test_a_genuine_request_is_accepted_once_however_often_it_comes() -> None:
    ours, verifier = guard()
    accepted = ours.take(datagram(1), 0.0)
    assert accepted is not None
    assert (accepted.number, accepted.window) == ((1, 1), 4.0)
    assert [ours.take(datagram(1), 0.1), ours.take(datagram(1), 0.2)] == [None, None]
    assert (ours.counts[Verdict.OLD], verifier.checks) == (2, 1)


def test_only_a_greater_number_is_accepted_after_a_restart_too() -> None:
    ours, _ = guard(last=(5, 9))
    assert ours.take(datagram(8, epoch=5), 0.0) is None
    assert ours.take(datagram(99, epoch=4), 0.0) is None
    assert ours.take(datagram(10, epoch=5), 0.0)
    assert ours.take(datagram(1, epoch=6), 0.0)
    assert ours.take(datagram(11, epoch=5), 0.0) is None


def test_who_is_not_named_does_not_even_check_the_signature() -> None:
    ours, verifier = guard()
    assert ours.take(datagram(1, OTHER), 0.0) is None
    assert verifier.checks == 0
    # A request to others that came in between does not make ours old.
    assert ours.take(datagram(1, OTHER, ME), 0.0)


def test_a_forged_request_changes_nothing() -> None:
    ours, _ = guard()
    thief = Ed25519PrivateKey.generate()
    assert ours.take(datagram(2**40, signer=thief), 0.0) is None
    assert ours.counts[Verdict.FORGED] == 1
    assert ours.take(datagram(1), 0.0)


def test_another_registrar_is_not_ours() -> None:
    ours, verifier = guard()
    stranger = RefreshRequest(server_id(bytes(32)), 1, 1, 0.0).encode(KEY.sign)
    assert ours.take(stranger, 0.0) is None
    assert (ours.counts[Verdict.STRANGER], verifier.checks) == (1, 0)


def test_a_flood_of_forgeries_costs_a_bounded_number_of_checks() -> None:
    ours, verifier = guard()
    thief = Ed25519PrivateKey.generate()
    forged = datagram(2**40, signer=thief)
    for number in range(100_000):
        ours.take(forged, number / 100_000)  # all within a second
    assert verifier.checks <= CHECKS_AT_ONCE + 11
    # And when it is over, the genuine one is heard.
    assert ours.take(datagram(1), 5.0)


def test_answers_are_spread_over_the_window_and_a_minute_apart() -> None:
    ours, _ = guard()
    assert ours.answer_in(4.0, 100.0, 0.5) == 2.0
    assert ours.answer_in(4.0, 101.0, 0.9) is None  # the one that is due answers both
    assert ours.answer_in(4.0, 103.0, 0.0) == REST_SECONDS - 1.0
    assert ours.answer_in(4.0, 1000.0, 1.0) == 4.0
