from __future__ import annotations

import pytest

from lanpost.wire.smtp_moves import COMMANDS, MOVES, State, why_not
from lanpost.wire.smtp_server import SmtpServer


def test_every_state_has_its_moves_and_every_move_its_handler() -> None:
    assert set(MOVES) == set(State)
    assert set(SmtpServer._HANDLERS) == COMMANDS


@pytest.mark.parametrize("state", State)
def test_every_refusal_is_permanent_and_has_a_status(state: State) -> None:
    for verb in [*COMMANDS, b"EXPN", b"NONSENSE"]:
        reply = why_not(state, verb)
        assert reply.is_permanent
        assert reply.status.startswith("5.5.")
