"""The POP3 session, without a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import LocalProtocolError
from lanpost.wire import pop3_server
from lanpost.wire.pop3_events import Commit, Event, Flush, Login, Maildrop, Refused, Retrieve, StartTls
from lanpost.wire.pop3_server import MOVES, Pop3Server, State

DROP = Maildrop((100, 20, 3), ("id-a", "id-b", "id-c"))
GREETING = b"+OK lanpost POP3 server ready\r\n"


def server(*, tls: bool = True, plaintext: bool = True) -> Pop3Server:
    session = Pop3Server(tls_available=tls, plaintext_allowed=plaintext)
    assert session.data_to_send() == GREETING
    return session


def logged_in(drop: Maildrop = DROP) -> Pop3Server:
    session = server()
    session.receive_data(b"USER anna\r\nPASS secret\r\n")
    assert session.next_event() == Login("anna", "secret")
    session.answer(drop)
    session.data_to_send()
    return session


def say(session: Pop3Server, *lines: str) -> str:
    """Send lines that the session answers by itself."""
    session.receive_data("".join(f"{line}\r\n" for line in lines).encode())
    assert session.next_event() is None
    return session.data_to_send().decode()


def play(data: Sequence[bytes], *, tls: bool = True) -> tuple[list[Event], bytes, State]:
    """Feed pieces; every event is answered in the same way, whatever its time."""
    session = Pop3Server(tls_available=tls, plaintext_allowed=True)
    events: list[Event] = []
    sent = b""
    for piece in (*data, b""):
        session.receive_data(piece)
        while (event := session.next_event()) is not None:
            match event:
                case Flush():
                    sent += session.data_to_send()
                    continue
                case Login():
                    session.answer(DROP if event.password == "secret" else Refused("no", "AUTH"))
                case Retrieve():
                    session.send_content(b"Subject: x\r\n\r\n..b")
                    session.answer(None)
                case StartTls():
                    session.answer(Refused("handshake failed"))
                case Commit():
                    session.answer(None)
            events.append(event)
        sent += session.data_to_send()
    return events, sent, session.state


SESSION = (
    b"CAPA\r\nuser anna@office.lan\r\nPASS wrong\r\nUSER anna\r\nPASS secret\r\nSTAT\r\nLIST\r\nUIDL 2\r\n"
    b"RETR 1\r\nTOP 2 5\r\nDELE 3\r\nQUIT\r\nNOOP\r\n"
)


@given(st.lists(st.integers(0, len(SESSION)), max_size=12))
def test_outcome_does_not_depend_on_how_tcp_cuts_the_stream(points: list[int]) -> None:
    places = sorted({0, len(SESSION), *points})
    pieces = [SESSION[start:end] for start, end in pairwise(places)]
    assert play(pieces) == play([SESSION])


def test_a_whole_session() -> None:
    events, sent, state = play([SESSION])
    assert events == [
        Login("anna@office.lan", "wrong"),
        Login("anna", "secret"),
        Retrieve(0),
        Retrieve(1, 5),
        Commit((2,)),
    ]
    assert state is State.CLOSED
    greeting, _, rest = sent.partition(b".\r\n")  # of CAPA
    assert greeting.startswith(GREETING + b"+OK Capabilities follow\r\nTOP\r\n")
    assert rest.decode().splitlines() == [
        "+OK Password, please",
        "-ERR [AUTH] no",
        "+OK Password, please",
        "+OK 3 mails, 123 octets",
        "+OK 3 123",
        *("+OK 3 mails, 123 octets", "1 100", "2 20", "3 3", "."),
        "+OK 2 id-b",
        *("+OK 100 octets", "Subject: x", "", "..b", "."),
        *("+OK", "Subject: x", "", "..b", "."),
        "+OK mail 3 will be deleted at QUIT",
        "+OK Goodbye",
    ]


WORDS = st.sampled_from(
    [verb.encode() for moves in MOVES.values() for verb in moves]
    + [
        b"\r\n",
        b"\n",
        b" ",
        b"1",
        b"2",
        b"9",
        b"-1",
        b"anna",
        b"secret",
        b"\0",
        b"=",
        b"*",
        b"\xff",
        b"PLAIN",
        b".",
    ]
)


@given(st.lists(st.one_of(st.binary(max_size=30), WORDS, st.just(b"\r\n"))), st.booleans())
def test_any_bytes_are_answered_and_never_raise(pieces: list[bytes], tls: bool) -> None:
    _, sent, _ = play(pieces, tls=tls)
    assert sent.startswith(GREETING)
    assert sent.endswith(b"\r\n")


@pytest.mark.parametrize("state", [State.AUTHORIZATION, State.TRANSACTION])
@pytest.mark.parametrize("verb", sorted({verb for moves in MOVES.values() for verb in moves}))
def test_a_command_is_taken_only_in_its_states(state: State, verb: str) -> None:
    session = server() if state is State.AUTHORIZATION else logged_in()
    session.receive_data(f"{verb}\r\n".encode())
    event = session.next_event()
    refused = f"-ERR {verb} is not valid in the {state} state\r\n".encode()
    assert (session.data_to_send() == refused) == (verb not in MOVES[state])
    if verb not in MOVES[state]:
        assert event is None


# Logging in


def test_the_password_keeps_its_spaces() -> None:
    session = server()
    session.receive_data("USER anna\r\nPASS  pass word é \r\n".encode())
    assert session.next_event() == Login("anna", " pass word é ")


def test_a_password_in_latin_1_is_understood() -> None:
    session = server()
    session.receive_data(b"USER anna\r\nPASS caf\xe9 12\r\n")
    assert session.next_event() == Login("anna", "café 12")


def test_user_is_answered_alike_for_everybody_and_needed_before_each_pass() -> None:
    session = server()
    assert say(session, "PASS secret") == "-ERR give USER first\r\n"
    assert say(session, "USER nobody") == "+OK Password, please\r\n"
    session.receive_data(b"PASS x\r\n")
    assert session.next_event() == Login("nobody", "x")
    session.answer(Refused("wrong", "AUTH"))
    assert session.data_to_send() == b"-ERR [AUTH] wrong\r\n"
    assert say(session, "PASS secret") == "-ERR give USER first\r\n"


def test_a_mailbox_in_use_is_no_wrong_password() -> None:
    session = server()
    for _ in range(pop3_server.MAX_WRONG_PASSWORDS + 1):
        session.receive_data(b"USER anna\r\nPASS secret\r\n")
        assert session.next_event() == Login("anna", "secret")
        session.answer(Refused("another session", "IN-USE"))
        assert b"-ERR [IN-USE] another session\r\n" in session.data_to_send()
    assert session.state is State.AUTHORIZATION


def test_too_many_wrong_passwords_end_the_session() -> None:
    session = server()
    for _ in range(pop3_server.MAX_WRONG_PASSWORDS):
        assert session.state is State.AUTHORIZATION
        session.receive_data(b"USER anna\r\nPASS guess\r\n")
        assert session.next_event() == Login("anna", "guess")
        session.answer(Refused("wrong", "AUTH"))
    assert session.state is State.CLOSED


def sasl(*parts: str) -> str:
    return base64.b64encode("\0".join(parts).encode()).decode()


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("identity", ["", "anna"])
def test_auth_plain(initial: bool, identity: str) -> None:
    session = server()
    response = sasl(identity, "anna", "se cret")
    if initial:
        session.receive_data(f"auth plain {response}\r\n".encode())
    else:
        assert say(session, "AUTH PLAIN") == "+ \r\n"
        session.receive_data(f"{response}\r\n".encode())
    assert session.next_event() == Login("anna", "se cret")


@pytest.mark.parametrize(
    "response", ["*", "=", "!!!", sasl("x"), sasl("a", "b", "c", "d"), sasl("otto", "anna", "pw")]
)
def test_auth_plain_refuses_what_is_none(response: str) -> None:
    session = server()
    assert say(session, "AUTH PLAIN") == "+ \r\n"
    assert say(session, response).startswith("-ERR ")
    assert say(session, "CAPA").startswith("+OK")


def test_auth_lists_and_refuses_mechanisms() -> None:
    assert say(server(), "AUTH") == "+OK Mechanisms follow\r\nPLAIN\r\n.\r\n"
    assert say(server(), "AUTH CRAM-MD5") == "-ERR only PLAIN is known here\r\n"


# TLS


def test_no_password_in_the_clear() -> None:
    session = server(plaintext=False)
    capabilities = say(session, "CAPA")
    assert "STLS\r\n" in capabilities
    assert "USER\r\n" not in capabilities
    assert "SASL" not in capabilities
    for line in ("USER anna", "AUTH PLAIN", "AUTH PLAIN " + sasl("", "anna", "secret")):
        assert say(session, line).startswith("-ERR no password may cross the network in the clear: give STLS first")


def test_stls_forgets_all_that_came_before_it() -> None:
    session = server()
    session.receive_data(b"USER mallory\r\nSTLS\r\nPASS injected\r\nDELE 1\r\n")
    assert session.next_event() == StartTls()
    assert session.data_to_send().endswith(b"+OK Begin TLS negotiation\r\n")
    session.receive_data(b"QUIT\r\n")
    session.answer(None)
    assert session.secure
    assert session.next_event() is None
    assert session.data_to_send() == b""
    assert say(session, "PASS secret") == "-ERR give USER first\r\n"
    assert say(session, "STLS") == "-ERR TLS stands already\r\n"
    capabilities = say(session, "CAPA")
    assert "STLS" not in capabilities
    assert "USER\r\nSASL PLAIN\r\n" in capabilities


def test_stls_is_refused_where_there_is_no_tls() -> None:
    session = server(tls=False)
    assert "STLS" not in say(session, "CAPA")
    assert say(session, "STLS") == "-ERR no TLS here\r\n"


# Mails


def test_marks_are_seen_by_every_command_and_taken_back_by_rset() -> None:
    session = logged_in()
    assert say(session, "DELE 2") == "+OK mail 2 will be deleted at QUIT\r\n"
    assert say(session, "STAT") == "+OK 2 103\r\n"
    assert say(session, "LIST") == "+OK 2 mails, 103 octets\r\n1 100\r\n3 3\r\n.\r\n"
    assert say(session, "UIDL") == "+OK Unique ids follow\r\n1 id-a\r\n3 id-c\r\n.\r\n"
    for line in ("DELE 2", "RETR 2", "TOP 2 0", "LIST 2", "UIDL 2"):
        assert say(session, line) == "-ERR mail 2 is deleted\r\n"
    assert say(session, "RSET") == "+OK 3 mails, 123 octets\r\n"
    session.receive_data(b"QUIT\r\n")
    assert session.next_event() == Commit(())


@pytest.mark.parametrize("number", ["0", "4", "-1", "x", "", "1x", "99999999999999999999", "٣"])
@pytest.mark.parametrize("command", ["RETR {}", "DELE {}", "TOP {} 1"])
def test_a_number_that_is_none_is_refused(command: str, number: str) -> None:
    assert say(logged_in(), command.format(number)).startswith("-ERR ")


def test_an_empty_mailbox() -> None:
    session = logged_in(Maildrop((), ()))
    assert say(session, "STAT", "LIST", "UIDL") == (
        "+OK 0 0\r\n+OK 0 mails, 0 octets\r\n.\r\n+OK Unique ids follow\r\n.\r\n"
    )


@pytest.mark.parametrize(
    ("chunks", "sent"),
    [
        ([b"a\r\n"], b"a\r\n.\r\n"),
        ([b"a\r", b"\n"], b"a\r\n.\r\n"),
        ([b"a"], b"a\r\n.\r\n"),
        ([b"a\r"], b"a\r\r\n.\r\n"),
        ([], b".\r\n"),
        ([b""], b".\r\n"),
    ],
)
def test_the_end_of_a_mail_stands_on_a_line_of_its_own(chunks: list[bytes], sent: bytes) -> None:
    session = logged_in()
    session.receive_data(b"RETR 1\r\n")
    assert session.next_event() == Retrieve(0)
    for chunk in chunks:
        session.send_content(chunk)
    session.answer(None)
    assert session.data_to_send() == b"+OK 100 octets\r\n" + sent


def test_a_mail_that_cannot_be_read_is_refused() -> None:
    session = logged_in()
    session.receive_data(b"RETR 1\r\nSTAT\r\n")
    assert session.next_event() == Retrieve(0)
    session.answer(Refused("disk\r\nbroken " + "x" * 1000, "SYS/TEMP"))
    assert session.next_event() is None
    refused, stat, _ = session.data_to_send().split(b"\r\n")
    assert refused.startswith(b"-ERR [SYS/TEMP] disk broken xxx")
    assert len(refused) < 512
    assert stat == b"+OK 3 123"


def test_a_mail_that_breaks_off_is_never_ended_as_if_it_were_whole() -> None:
    session = logged_in()
    session.receive_data(b"RETR 1\r\nSTAT\r\n")
    assert session.next_event() == Retrieve(0)
    session.send_content(b"half\r\n")
    session.answer(Refused("disk broken"))
    assert session.data_to_send() == b"+OK 100 octets\r\nhalf\r\n"
    assert session.state is State.CLOSED
    assert session.next_event() is None


def test_a_failed_deletion_is_told() -> None:
    session = logged_in()
    session.receive_data(b"DELE 1\r\nQUIT\r\n")
    assert session.next_event() == Commit((0,))
    session.answer(Refused("some mails are not deleted", "SYS/TEMP"))
    assert session.data_to_send().endswith(b"-ERR [SYS/TEMP] some mails are not deleted\r\n")
    assert session.state is State.CLOSED


# Limits


@pytest.mark.parametrize("data", [b"x" * 3000, b"x" * 3000 + b"\r\n"])
def test_a_line_too_long_ends_the_session(data: bytes) -> None:
    session = server()
    session.receive_data(data)
    assert session.next_event() is None
    assert session.data_to_send() == b"-ERR a line of more than 2048 octets\r\n"
    assert session.state is State.CLOSED
    session.receive_data(b"more")
    assert session.buffered == 0


def test_too_many_errors_end_the_session() -> None:
    session = server()
    answered = say(session, *["HELO"] * 50)
    assert answered == "-ERR unknown command\r\n" * pop3_server.MAX_ERRORS
    assert session.state is State.CLOSED


def test_too_many_commands_end_the_session() -> None:
    session = server()
    answered = say(session, *["USER x"] * 101)
    assert answered.endswith("-ERR too many commands in one session\r\n")
    assert session.state is State.CLOSED


def test_every_mail_may_be_dealt_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pop3_server, "MAX_COMMANDS", 10)
    many = range(100)
    session = logged_in(Maildrop([1] * 100, [str(number) for number in many]))
    for number in many:
        for verb in ("UIDL", "LIST", "DELE"):
            assert say(session, f"{verb} {number + 1}").startswith("+OK")


def test_pipelined_listings_wait_until_the_client_reads() -> None:
    session = logged_in(Maildrop([1] * 5000, [f"id{number}" for number in range(5000)]))
    session.receive_data(b"LIST\r\n" * 100)
    longest = flushes = 0
    while session.next_event() is not None:
        flushes += 1
        longest = max(longest, len(session.data_to_send()))
    assert flushes == 50
    assert longest < 2 * pop3_server.MAX_UNSENT


# Our own mistakes


def test_an_unanswered_event_is_our_mistake() -> None:
    session = server()
    session.receive_data(b"STLS\r\n")
    assert session.next_event() == StartTls()
    with pytest.raises(LocalProtocolError):
        session.next_event()
    with pytest.raises(LocalProtocolError):
        session.send_content(b"x")
    with pytest.raises(LocalProtocolError):
        session.answer(DROP)


def test_an_answer_to_nothing_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        server().answer(None)
    with pytest.raises(LocalProtocolError):
        server().answer(Refused("no"))
