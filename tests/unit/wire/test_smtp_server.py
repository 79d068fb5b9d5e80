from __future__ import annotations

import base64
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanpost.errors import LocalProtocolError
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.reply import (
    NO_SUCH_USER,
    OK,
    RECIPIENT_OK,
    SENDER_OK,
    SHUTTING_DOWN,
    START_CONTENT,
    STORAGE_FULL,
    Reply,
)
from lanpost.wire import smtp_server_replies
from lanpost.wire.smtp_events import Event, Refused, Signal, SmtpLimits, SmtpTerms
from lanpost.wire.smtp_login import Credentials
from lanpost.wire.smtp_moves import MOVES, State
from lanpost.wire.smtp_server import MAX_SWALLOWED_LINE, SmtpServer

TERMS = SmtpTerms("mail.office.lan", "office.lan", SmtpLimits(mail_size=1000))
WITH_LOGIN = SmtpTerms("mail.office.lan", "office.lan", authentication=True)
SUBMISSION = SmtpTerms("mail.office.lan", "office.lan", authentication=True, submission=True)
MAIL = b"MAIL FROM:<a@b.c>\r\n"
RCPT = b"RCPT TO:<fax1>\r\n"
LOGIN_OK = Reply(235, "2.7.0", "Welcome")
WRONG = Reply(535, "5.7.8", "Wrong")
GO_AHEAD = Reply(220, "2.0.0", "Go ahead")


@dataclass
class Play:
    """A session and a willing caller: answers everything, and notes what happened."""

    terms: SmtpTerms = TERMS
    tls_available: bool = False
    login_in_clear: bool = False
    content_answer: Reply = START_CONTENT
    final_answer: Reply = OK
    events: list[str] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)
    content: bytes = b""
    sent: bytes = b""

    def __post_init__(self) -> None:
        self.session = SmtpServer(self.terms, tls_available=self.tls_available, login_in_clear=self.login_in_clear)
        self.session.greet()
        self.codes()

    def say(self, data: bytes) -> Play:
        self.session.receive_data(data)
        while (event := self.session.next_event()) is not None:
            self._answer(event)
        return self

    def _answer(self, event: Event) -> None:
        match event:
            case bytes():
                self.content += event
                return
            case Refused():
                self.content = b""
                self.events.append(f"refused {event.reply.code}")
                return
            case Signal.RESET:
                self.events.append("reset")
                return
            case Envelope():
                answer = SENDER_OK
                self.events.append(f"mail {event.sender}")
            case Recipient():
                answer = NO_SUCH_USER if event.address.local == "unknown" else RECIPIENT_OK
                self.events.append(f"rcpt {event.address}")
            case Credentials():
                answer = LOGIN_OK if event.password == "right" else WRONG
                self.events.append(f"login {event.login}")
            case Signal.START_CONTENT:
                answer = self.content_answer
                self.content = b""
                self.events.append("content")
            case Signal.END_CONTENT:
                answer = self.final_answer
                self.mails.append(self.content)
                self.events.append("end")
            case _:
                answer = GO_AHEAD
                self.events.append("tls")
        self.session.answer(answer)

    def codes(self, data: bytes = b"") -> list[str]:
        """The codes of all replies to `data`, and to what was said since the last time."""
        if data:
            self.say(data)
        sent = self.session.data_to_send()
        self.sent += sent
        assert not sent or sent.endswith(b"\r\n")
        lines = sent.decode().split("\r\n")[:-1]
        assert all(line[:3].isdigit() and line[3] in " -" for line in lines)
        return [
            line[:3] + (line[3:9] if line[4:5] in "245" and line[5:6] == "." else "")
            for line in lines
            if line[3] == " "
        ]

    def hello(self) -> Play:
        self.codes(b"EHLO client\r\n")
        return self

    def content_started(self) -> Play:
        assert self.hello().codes(MAIL + RCPT + b"DATA\r\n")[-1] == "354"
        return self


def offered(play: Play) -> set[str]:
    play.sent = b""
    play.hello()
    return {line[4:].decode() for line in play.sent.split(b"\r\n")[1:] if line}


def test_a_mail_from_greeting_to_farewell() -> None:
    play = Play()
    assert play.sent == b"220 mail.office.lan ESMTP lanpost\r\n"
    assert play.codes(b"EHLO client\r\n" + MAIL + RCPT + b"DATA\r\n") == ["250", "250 2.1.0", "250 2.1.5", "354"]
    assert play.codes(b"Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n") == ["250 2.0.0", "221 2.0.0"]
    assert play.mails == [b"Subject: x\r\n\r\n..dot\r\n"]
    assert play.events == ["mail a@b.c", "rcpt fax1@office.lan", "content", "end"]
    assert play.session.state is State.CLOSED
    assert (play.session.hello, play.session.extended) == ("client", True)


def test_what_ehlo_offers() -> None:
    always = {"PIPELINING", "SIZE 1000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN"}
    assert offered(Play()) == always
    assert "STARTTLS" in offered(Play(tls_available=True))
    assert not any("AUTH" in line for line in offered(Play(WITH_LOGIN)))
    assert "AUTH PLAIN LOGIN" in offered(Play(WITH_LOGIN, login_in_clear=True))
    play = Play(WITH_LOGIN, tls_available=True).say(b"STARTTLS\r\n")
    play.session.tls_started()
    after = offered(play)
    assert "AUTH PLAIN LOGIN" in after
    assert "STARTTLS" not in after


def test_helo_is_answered_by_one_line() -> None:
    play = Play()
    assert play.codes(b"HELO old-printer\r\n") == ["250"]
    assert play.sent.endswith(b"\r\n250 mail.office.lan\r\n")
    assert not play.session.extended


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (b"NOOP\r\n", "250 2.0.0"),
        (b"noop whatever\r\n", "250 2.0.0"),
        (b"RSET\r\n", "250 2.0.0"),
        (b"HELP\r\n", "214 2.0.0"),
        (b"VRFY fax1\r\n", "252 2.0.0"),
        (b"VRFY unknown\r\n", "252 2.0.0"),
        (b"VRFY\r\n", "501 5.5.4"),
        (b"EXPN list\r\n", "502 5.5.1"),
        (b"ETRN x\r\n", "502 5.5.1"),
        (b"NONSENSE\r\n", "500 5.5.1"),
        (b"\r\n", "500 5.5.1"),
        (b"NOOP\n", "500 5.5.2"),
        (b"\n", "500 5.5.2"),
        (b"NO\0OP\r\n", "500 5.5.2"),
        (b"NOOP\rRSET\r\n", "500 5.5.2"),
        (b"N" * 2049 + b"\r\n", "500 5.5.2"),
        (b"EHLO\r\n", "501 5.5.4"),
        (b"HELO \r\n", "501 5.5.4"),
        (b"RSET x\r\n", "501 5.5.4"),
        (b"QUIT x\r\n", "501 5.5.4"),
        (b"STARTTLS\r\n", "502 5.5.1"),
        (b"AUTH PLAIN\r\n", "502 5.5.1"),
        (RCPT, "503 5.5.1"),
        (b"DATA\r\n", "503 5.5.1"),
        (b"BDAT 0\r\n", "503 5.5.1"),
        (MAIL + MAIL, "503 5.5.1"),
        (MAIL + b"AUTH PLAIN\r\n", "503 5.5.1"),
        (MAIL + b"STARTTLS\r\n", "503 5.5.1"),
        (MAIL + b"DATA\r\n", "554 5.5.1"),
        (MAIL + b"RCPT TO:<unknown>\r\nDATA\r\n", "554 5.5.1"),
        (MAIL + b"BDAT 3\r\nabc", "554 5.5.1"),
        (MAIL + RCPT + b"DATA x\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@b.c> SIZE=1001\r\n", "552 5.3.4"),
        (b"MAIL FROM:<a@b.c> SIZE=1000\r\n", "250 2.1.0"),
    ],
)
def test_every_answer_of_the_session_itself(said: bytes, reply: str) -> None:
    play = Play().hello()
    assert play.codes(said)[-1] == reply
    assert play.session.state is not State.CLOSED
    assert play.codes(b"NOOP\r\n") == ["250 2.0.0"]


@pytest.mark.parametrize("said", [MAIL, RCPT, b"AUTH PLAIN\r\n"])
def test_hello_comes_first(said: bytes) -> None:
    assert Play().codes(said) == ["503 5.5.1"]


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\nHost: x\r\n\r\nHELO x\r\n"])
def test_a_browser_is_sent_away_at_once(said: bytes) -> None:
    play = Play()
    assert play.codes(said) == ["554 5.5.1"]
    assert play.session.state is State.CLOSED


def test_who_speaks_before_the_greeting_is_sent_away() -> None:
    session = SmtpServer(TERMS)
    session.receive_data(b"EHLO x\r\n")
    session.greet()
    assert session.next_event() is None
    assert session.data_to_send() == b"554 5.5.0 You spoke before the greeting\r\n"
    assert session.state is State.CLOSED


def test_replies_are_in_ascii_unless_the_client_announced_utf8() -> None:
    play = Play(final_answer=Reply(550, "5.7.1", "Käse")).content_started().say(b".\r\n")
    assert play.codes() == ["550 5.7.1"]
    assert play.sent.endswith(b"550 5.7.1 K?se\r\n")
    play.codes(b"MAIL FROM:<a@b.c> SMTPUTF8\r\n" + RCPT + b"DATA\r\n")
    assert play.codes(b".\r\n") == ["550 5.7.1"]
    assert play.sent.endswith("550 5.7.1 Käse\r\n".encode())


def test_what_the_session_says_itself_is_ascii_and_fits_a_line() -> None:
    for reply in vars(smtp_server_replies).values():
        if isinstance(reply, Reply):
            assert reply.encode().isascii()
            assert len(reply.encode()) <= 512  # RFC 5321 §4.5.3.1.5
            assert reply.status[:1] == str(reply.code)[:1]


def test_rset_and_ehlo_forget_the_mail() -> None:
    for command in (b"RSET\r\n", b"EHLO again\r\n", b"HELO again\r\n"):
        play = Play().hello()
        assert play.codes(MAIL + RCPT + command + RCPT)[-1] == "503 5.5.1"
        assert play.events[-1] == "reset"


def test_no_event_while_one_is_unanswered() -> None:
    session = Play().hello().session
    session.receive_data(MAIL + b"NOOP\r\n")
    assert isinstance(session.next_event(), Envelope)
    assert session.next_event() is None
    assert not session.is_idle
    session.answer(SENDER_OK)
    with pytest.raises(LocalProtocolError):
        session.answer(SENDER_OK)


def test_a_mail_with_many_recipients_some_refused() -> None:
    play = Play(SmtpTerms("x", "y", SmtpLimits(recipients=2))).hello()
    replies = play.codes(MAIL + b"RCPT TO:<unknown>\r\n" + RCPT * 3 + b"DATA\r\n")
    assert replies == ["250 2.1.0", "550 5.1.1", "250 2.1.5", "250 2.1.5", "452 4.5.3", "354"]


def test_too_many_errors_end_the_session_and_an_accepted_mail_forgives() -> None:
    play = Play(SmtpTerms("x", "y", SmtpLimits(errors=3))).hello()
    assert play.codes(b"X\r\n" * 2) == ["500 5.5.1"] * 2
    play.codes(MAIL + RCPT + b"DATA\r\n")
    play.codes(b".\r\n")
    assert play.codes(b"X\r\n" * 5) == ["500 5.5.1"] * 3 + ["421 4.7.0"]
    assert play.session.state is State.CLOSED


def test_too_many_commands_end_the_session() -> None:
    play = Play(SmtpTerms("x", "y", SmtpLimits(commands=10))).hello()
    assert play.codes(b"NOOP\r\n" * 10) == ["250 2.0.0"] * 9 + ["421 4.7.0"]


def test_a_421_of_the_caller_ends_the_session() -> None:
    play = Play(final_answer=SHUTTING_DOWN).content_started()
    assert play.codes(b".\r\n" + MAIL) == ["421 4.3.2"]
    assert play.session.state is State.CLOSED


@pytest.mark.parametrize("step", [100, 10**6])
def test_an_endless_line_ends_the_session(step: int) -> None:
    play = Play().hello()
    line = b"X" * (MAX_SWALLOWED_LINE + 1)
    for at in range(0, len(line), step):
        play.say(line[at : at + step])
    assert play.codes() == ["500 5.5.2", "421 4.7.0"]


# Content.


def test_a_mail_too_big_is_swallowed_and_refused_at_its_end() -> None:
    play = Play().content_started()
    assert play.codes((b"x" * 98 + b"\r\n") * 11) == []
    assert play.events[-1] == "refused 552"
    assert play.codes(b".\r\nNOOP\r\n") == ["552 5.3.4", "250 2.0.0"]
    assert not play.mails


def test_a_mail_of_the_greatest_size_is_taken() -> None:
    play = Play().content_started()
    assert play.codes((b"." + b"x" * 48 + b"\r\n") * 19 + b"x" * 48 + b"\r\n.\r\n") == ["250 2.0.0"]


def test_a_mail_without_end_is_not_swallowed_for_ever() -> None:
    play = Play().content_started()
    assert play.codes((b"x" * 98 + b"\r\n") * 21) == ["552 5.3.4"]
    assert play.session.state is State.CLOSED


@pytest.mark.parametrize("trick", [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\rx"])
@pytest.mark.parametrize("by", ["DATA", "BDAT"])
def test_a_smuggled_mail_is_one_mail_and_refused(trick: bytes, by: str) -> None:
    body = b"Subject: x\r\n\r\nhello" + trick + b"MAIL FROM:<evil@b.c>\r\nRCPT TO:<fax1>\r\nDATA\r\nevil\r\n"
    if by == "DATA":
        play = Play().content_started()
        replies = play.codes(body + b".\r\n")
    else:
        play = Play().hello()
        replies = play.codes(MAIL + RCPT + b"BDAT %d LAST\r\n" % len(body) + body)[2:]
        if trick.startswith(b"\r\n."):
            # A dot at a line's start is stuffed here, so nobody behind us sees a lone one.
            assert replies == ["250 2.0.0"]
            assert trick.replace(b".", b"..") in play.mails[0]
            return
    assert replies == ["550 5.6.0"]
    assert "mail evil@b.c" not in play.events
    assert not play.mails


def test_content_before_354_is_an_offence_and_no_command() -> None:
    play = Play().hello()
    assert play.codes(MAIL + RCPT + b"DATA\r\nQUIT\r\n.\r\n") == ["250 2.1.0", "250 2.1.5", "554 5.5.0"]
    play = Play().hello()
    assert play.codes(b"DATA\r\nMAIL FROM:<evil@b.c>\r\n") == ["554 5.5.0"]
    assert "mail evil@b.c" not in play.events


def test_refused_content_leaves_a_usable_session() -> None:
    play = Play(content_answer=STORAGE_FULL).hello()
    assert play.codes(MAIL + RCPT + b"DATA\r\n")[-1] == "452 4.3.1"
    assert play.codes(RCPT + MAIL) == ["503 5.5.1", "250 2.1.0"]


def test_bdat_in_one_piece_and_in_several() -> None:
    play = Play().hello()
    assert play.codes(MAIL + RCPT + b"BDAT 6 LAST\r\n.abc\r\nNOOP\r\n")[2:] == ["250 2.0.0", "250 2.0.0"]
    assert play.codes(MAIL + RCPT + b"BDAT 3\r\na\r\nBDAT 3\r\n.\r\nBDAT 0 LAST\r\n")[2:] == ["250 2.0.0"] * 3
    assert play.codes(MAIL + RCPT + b"BDAT 2 LAST\r\nabQUIT\r\n")[2:] == ["250 2.0.0", "221 2.0.0"]
    assert play.mails == [b"..abc\r\n", b"a\r\n..\r\n", b"ab\r\n"]


def test_bdat_chunks_are_never_commands_even_where_they_are_refused() -> None:
    chunk = b"BDAT 6 LAST\r\nQUIT\r\n"
    assert Play().hello().codes(chunk + b"NOOP\r\n") == ["503 5.5.1", "250 2.0.0"]
    assert Play().hello().codes(MAIL + chunk + b"NOOP\r\n")[1:] == ["554 5.5.1", "250 2.0.0"]
    play = Play(content_answer=STORAGE_FULL).hello()
    assert play.codes(MAIL + RCPT + b"BDAT 6\r\nQUIT\r\n" + chunk)[2:] == ["452 4.3.1", "503 5.5.1"]
    play = Play().hello()
    assert play.codes(b"BDAT six\r\nQUIT\r\n") == ["501 5.5.4"]
    assert play.session.state is State.CLOSED


def test_bdat_too_big_is_refused_and_forgotten() -> None:
    play = Play().hello()
    big = b"BDAT 1200\r\n" + b"x" * 1200
    assert play.codes(MAIL + RCPT + big + b"BDAT 3 LAST\r\nabc" + MAIL)[2:] == [
        "552 5.3.4",
        "503 5.5.1",
        "250 2.1.0",
    ]
    assert play.events[-2:] == ["refused 552", "mail a@b.c"]
    play = Play().hello()
    assert play.codes(MAIL + RCPT + b"BDAT 99999999999\r\n")[2:] == ["552 5.3.4"]
    assert play.session.state is State.CLOSED


@pytest.mark.parametrize("command", [b"DATA\r\n", MAIL, RCPT])
def test_what_may_not_stand_between_chunks(command: bytes) -> None:
    play = Play().hello()
    assert play.codes(MAIL + RCPT + b"BDAT 3\r\nabc" + command)[-1] == "503 5.5.1"
    assert play.codes(b"BDAT 0 LAST\r\n") == ["250 2.0.0"]


# TLS and AUTH.


def test_nothing_is_kept_over_starttls() -> None:
    play = Play(SUBMISSION, tls_available=True, login_in_clear=True).hello()
    play.codes(b"AUTH PLAIN " + base64.b64encode(b"\0anna\0right") + b"\r\n")
    assert play.session.login == "anna"
    assert play.codes(b"STARTTLS\r\n") == ["220 2.0.0"]
    play.session.tls_started()
    assert (play.session.hello, play.session.login) == ("", "")
    assert play.codes(MAIL) == ["503 5.5.1"]
    assert play.hello().codes(MAIL + b"STARTTLS\r\n") == ["530 5.7.0", "502 5.5.1"]


def test_commands_injected_behind_starttls_close_the_session() -> None:
    play = Play(tls_available=True).hello()
    assert play.codes(b"STARTTLS\r\n" + MAIL) == ["554 5.5.0"]
    assert play.session.state is State.CLOSED
    play = Play(tls_available=True).hello().say(b"STARTTLS\r\n").say(MAIL)
    assert play.codes() == ["220 2.0.0", "554 5.5.0"]
    assert "mail a@b.c" not in play.events


def test_starttls_takes_no_argument_and_may_be_declined() -> None:
    play = Play(tls_available=True).hello()
    assert play.codes(b"STARTTLS now\r\n") == ["501 5.5.4"]
    session = play.session
    session.receive_data(b"STARTTLS\r\n")
    assert session.next_event() is Signal.START_TLS
    session.answer(Reply(454, "4.7.0", "Not now"))
    assert session.state is State.READY


def test_login() -> None:
    play = Play(SUBMISSION, login_in_clear=True).hello()
    assert play.codes(MAIL) == ["530 5.7.0"]
    assert play.codes(b"AUTH LOGIN\r\nYW5uYQ==\r\nd3Jvbmc=\r\n") == ["334", "334", "535 5.7.8"]
    assert play.codes(b"AUTH PLAIN\r\n*\r\nAUTH DIGEST-MD5\r\n") == ["334", "501 5.7.0", "504 5.5.4"]
    assert play.codes(b"AUTH LOGIN\r\nYW5uYQ==\r\ncmlnaHQ=\r\n" + MAIL)[-2:] == ["235 2.7.0", "250 2.1.0"]
    assert play.codes(b"RSET\r\nAUTH PLAIN\r\n") == ["250 2.0.0", "503 5.5.1"]
    assert play.events[:2] == ["login anna", "login anna"]


def test_no_password_in_the_clear() -> None:
    assert Play(WITH_LOGIN, tls_available=True).hello().codes(b"AUTH PLAIN\r\n") == ["538 5.7.1"]  # 5.7.11, cut


def test_an_endless_login_line_is_refused() -> None:
    play = Play(WITH_LOGIN, login_in_clear=True).hello()
    assert play.codes(b"AUTH PLAIN\r\n" + b"A" * 13_000 + b"\r\nNOOP\r\n") == ["334", "500 5.5.2", "250 2.0.0"]


# Properties.

VERBS = [verb + b"\r\n" for moves in MOVES.values() for verb in moves]
LINES = [
    b"EHLO x\r\n",
    b"HELO x\r\n",
    MAIL,
    RCPT,
    MAIL + RCPT + b"DATA\r\n",
    MAIL + RCPT + b"BDAT 5\r\nab\r\n.",
    MAIL + RCPT + b"BDAT 999\r\n",
    b"RCPT TO:<unknown>\r\n",
    b"BDAT 4\r\nab\r\n",
    b"BDAT 3 LAST\r\n.\r\n",
    b"AUTH PLAIN AGEAcmlnaHQ=\r\n",
    b"AUTH PLAIN\r\n",
    b"MAIL FROM:<> BODY=8BITMIME SMTPUTF8\r\n",
    b"GET / HTTP/1.0\r\n",
    b"Z" * 3000,
    b"y" * 700,
    b"\xff\xfe\r\n",
]
ENDS = [b"*\r\n", b"x\r\n", b".\r\n", b"..\r\n", b"\n.\r\n", b"\r\n", b"\r", b"\n"]
WORDS = VERBS + 3 * LINES + 2 * ENDS
TALK = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=25)
ALL_ON = SmtpTerms("x", "y", SmtpLimits(1000, 3, 8, 30, 2048), authentication=True)
Told = tuple[list[str], list[bytes], bytes, State]


def told(pieces: list[bytes], step: int) -> Told:
    """What a session makes of pieces of which each is sent when the one before is answered."""
    play = Play(ALL_ON, login_in_clear=True)
    for piece in pieces:
        for at in range(0, len(piece), step):
            play.say(piece[at : at + step])
        play.codes()
    return play.events, play.mails, play.sent, play.session.state


@settings(max_examples=300)
@given(TALK, st.integers(1, 9))
def test_however_tcp_cuts_the_stream_events_and_replies_are_the_same(words: list[bytes], step: int) -> None:
    # What follows DATA is sent only when that is answered, since before that it is an offence.
    pieces = [b"EHLO x\r\n"]
    for word in words:
        if pieces[-1].upper().endswith(b"DATA\r\n"):
            pieces.append(word)
        else:
            pieces[-1] += word
    pieces = [part for piece in pieces for part in _behind_data(piece)]
    assert told(pieces, step) == told(pieces, 10**6)


def _behind_data(piece: bytes) -> list[bytes]:
    """Cut behind each thing that could be a DATA command."""
    head, found, rest = piece.partition(b"DATA\r\n")
    return [head + found, *_behind_data(rest)] if found else [head]


@settings(max_examples=300)
@given(TALK, st.booleans())
def test_nothing_a_client_says_raises_or_is_left_unanswered(words: list[bytes], login_in_clear: bool) -> None:
    play = Play(ALL_ON, tls_available=True, login_in_clear=login_in_clear)
    for word in words:
        play.say(word)
        play.codes()
        if play.session.state is State.TLS:
            play.session.tls_started()
    assert all(b"\r\n.\r\n" not in b"\r\n" + mail for mail in play.mails)
    assert all(mail == b"" or mail.endswith(b"\r\n") for mail in play.mails)
