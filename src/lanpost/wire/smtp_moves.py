"""Which SMTP command is legal when, and where it leads: the server's table, and what to say beside it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from lanpost.model.reply import Reply
from lanpost.wire import smtp_server_replies as say


class State(IntEnum):
    """Where a session is. The order counts: up to READY no mail is under way, from TLS on no command is read."""

    CONNECTED = 0  # not greeted yet
    GREETED = 1  # no EHLO yet
    READY = 2
    SENDER = 3  # a mail without recipients
    RECIPIENTS = 4  # a mail that may have its content
    CONTENT = 5  # behind 354
    CHUNKS = 6  # behind the first BDAT
    TLS = 7  # the handshake is under way
    CLOSED = 8


Moves = Mapping[bytes, State]


def _anywhere(state: State) -> dict[bytes, State]:
    moves = dict.fromkeys((b"NOOP", b"HELP", b"VRFY"), state)
    moves |= {b"RSET": min(state, State.READY), b"QUIT": State.CLOSED}
    return moves | dict.fromkeys((b"EHLO", b"HELO"), State.READY)  # both reset too (RFC 5321 §4.1.4)


# Each legal command, and the state that a positive answer leads to (RFC 5321 §4.1.4, RFC 3207 §4, RFC 4954 §4).
MOVES: Final[Mapping[State, Moves]] = {
    State.CONNECTED: {},
    State.GREETED: _anywhere(State.GREETED) | {b"STARTTLS": State.TLS},
    State.READY: _anywhere(State.READY) | {b"STARTTLS": State.TLS, b"AUTH": State.READY, b"MAIL": State.SENDER},
    State.SENDER: _anywhere(State.SENDER) | {b"RCPT": State.RECIPIENTS},
    State.RECIPIENTS: _anywhere(State.RECIPIENTS)
    | {b"RCPT": State.RECIPIENTS, b"DATA": State.CONTENT, b"BDAT": State.CHUNKS},
    State.CONTENT: {},
    State.CHUNKS: _anywhere(State.CHUNKS) | {b"BDAT": State.CHUNKS},
    State.TLS: {},
    State.CLOSED: {},
}
COMMANDS: Final = frozenset(verb for moves in MOVES.values() for verb in moves)
UNWANTED: Final = frozenset({b"EXPN", b"TURN", b"ETRN", b"ATRN", b"SEND", b"SOML", b"SAML", b"XCLIENT"})
HTTP: Final = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT"})  # a browser lured to our port


def why_not(state: State, verb: bytes) -> Reply:
    """The answer to a command that is not legal in `state`."""
    if verb not in COMMANDS:
        return say.NOT_IMPLEMENTED if verb in UNWANTED else say.UNKNOWN_COMMAND
    match state, verb:
        case State.GREETED, _:
            return say.HELLO_FIRST
        case State.READY, _:
            return say.MAIL_FIRST
        case State.SENDER, b"DATA" | b"BDAT":
            return say.NO_RECIPIENTS
        case _, b"MAIL":
            return say.ALREADY_IN_MAIL
        case _:
            return say.NOT_NOW
