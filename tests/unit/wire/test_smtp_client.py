"""The client session against a peer written as a function: what it says, when, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import LocalProtocolError
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.proof import Proof, ProofKind
from lanpost.wire.smtp_client import MOVES, SmtpClient, State
from lanpost.wire.smtp_client_events import Closed, ContentWanted, Event, MailDone, Ready, StartTls
from lanpost.wire.smtp_client_login import Login

EHLO = b"250-10.0.0.7 hi\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n"
EHLO_CHUNKING = EHLO.replace(b"250 DSN", b"250-DSN\r\n250 CHUNKING")
EHLO_PLAIN = b"250 terminal\r\n"
CONTENT = b"Subject: x\r\n\r\nhello\r\n"


def recipients(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(MailAddress.parse(address)) for address in addresses)


def envelope(*addresses: str, **more: object) -> Envelope:
    return Envelope(MailAddress.parse("ann@office.lan"), recipients(*(addresses or ("fax1@office.lan",))), **more)  # type: ignore[arg-type]


def events(session: SmtpClient, *received: bytes) -> list[Event]:
    reached = []
    for data in received:
        session.receive_data(data)
        while (event := session.next_event()) is not None:
            reached.append(event)
    return reached


def ready(ehlo: bytes = EHLO, *, pipelining: bool = True) -> SmtpClient:
    session = SmtpClient("mail.office.lan", pipelining=pipelining)
    assert events(session, b"220 hi\r\n") == []
    assert session.data_to_send() == b"EHLO mail.office.lan\r\n"
    assert events(session, ehlo) == [Ready()]
    return session


def codes(event: Event) -> list[int]:
    assert isinstance(event, MailDone)
    return [reply.code for reply in event.replies]


def test_an_envelope_is_one_write_where_pipelining_is_offered() -> None:
    session = ready()
    session.begin(envelope("fax1@office.lan", "fax2@office.lan"), size=21)
    assert session.data_to_send() == (
        b"MAIL FROM:<ann@office.lan> SIZE=21\r\nRCPT TO:<fax1@office.lan>\r\nRCPT TO:<fax2@office.lan>\r\nDATA\r\n"
    )
    assert events(session, b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 who?\r\n354 go\r\n") == [ContentWanted()]
    session.write(CONTENT)
    session.end()
    assert session.data_to_send() == CONTENT + b".\r\n"
    (done,) = events(session, b"250 2.0.0 queued as 1\r\n")
    assert isinstance(done, MailDone)
    assert [str(reply) for reply in done.replies] == ["250 2.0.0 queued as 1", "550 5.1.1 who?"]
    assert session.state is State.READY
    assert session.data_to_send() == b""


def test_one_command_at_a_time_otherwise() -> None:
    session = ready(EHLO_PLAIN)
    session.begin(envelope("fax1@office.lan", "fax2@office.lan", body_8bit=True, ret="FULL"), size=21)
    said = [session.data_to_send()]
    for answer in (b"250 ok\r\n", b"550 no\r\n", b"251 will forward\r\n"):
        assert events(session, answer) == []
        said.append(session.data_to_send())
    assert said == [
        b"MAIL FROM:<ann@office.lan>\r\n",
        b"RCPT TO:<fax1@office.lan>\r\n",
        b"RCPT TO:<fax2@office.lan>\r\n",
        b"DATA\r\n",
    ]
    assert events(session, b"354 go\r\n") == [ContentWanted()]
    session.end()
    assert session.data_to_send() == b".\r\n"
    assert codes(events(session, b"250 ok\r\n")[0]) == [550, 250]


def test_whole_content_goes_along_in_a_chunk() -> None:
    session = ready(EHLO_CHUNKING)
    session.begin(envelope(), CONTENT, len(CONTENT))
    assert session.data_to_send() == (
        b"MAIL FROM:<ann@office.lan> SIZE=21\r\nRCPT TO:<fax1@office.lan>\r\nBDAT 21 LAST\r\n" + CONTENT
    )
    assert codes(events(session, b"250 ok\r\n250 ok\r\n250 2.0.0 done\r\n")[0]) == [250]
    assert session.state is State.READY


@pytest.mark.parametrize("content", [b".. dots\r\n", b"a\r\n..b\r\n", b"x" * 100_001 + b"\r\n"])
def test_content_with_dots_or_too_big_is_asked_for_first(content: bytes) -> None:
    session = ready(EHLO_CHUNKING)
    session.begin(envelope(), content, len(content))
    assert session.data_to_send().endswith(b"DATA\r\n")


def test_a_chunk_that_failed_is_followed_by_rset() -> None:
    session = ready(EHLO_CHUNKING)
    session.begin(envelope(), CONTENT)
    session.data_to_send()
    assert codes(events(session, b"250 ok\r\n550 no\r\n503 5.5.1 no recipients\r\n")[0]) == [550]
    assert session.data_to_send() == b"RSET\r\n"
    assert session.state is State.RESETTING
    assert events(session, b"250 ok\r\n") == [Ready()]


def test_helo_where_ehlo_is_not_known() -> None:
    session = SmtpClient("[10.0.0.1]")
    assert events(session, b"220 old\r\n") == []
    assert session.data_to_send() == b"EHLO [10.0.0.1]\r\n"
    assert events(session, b"502 what?\r\n") == []
    assert session.data_to_send() == b"HELO [10.0.0.1]\r\n"
    assert events(session, b"250-old\r\n250 PIPELINING\r\n") == [Ready()]
    assert not session.extensions


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"421 4.7.0 too many\r\n", "4.7.0"),
        (b"421 busy\r\n", "4.3.2"),
        (b"554 no SMTP here\r\n", "4.3.2"),
        (b"521 5.3.2 never\r\n", "4.3.2"),
        (b"250 hello?\r\n", "4.3.2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "4.5.0"),
    ],
)
def test_a_refused_session_is_never_for_good(said: bytes, status: str) -> None:
    session = SmtpClient("mail")
    (closed,) = events(session, said)
    assert isinstance(closed, Closed)
    assert closed.status == status
    assert session.state is State.CLOSED


def test_parameters_are_passed_on_where_offered() -> None:
    sender = MailAddress.parse("ann@office.lan")
    to = Recipient(MailAddress.parse("fax1@office.lan"), frozenset({"FAILURE", "DELAY"}), "rfc822;fax1@office.lan")
    mail = Envelope(sender, (to,), body_8bit=True, smtputf8=True, ret="HDRS", envid="a+2Bb", size=7)
    session = ready()
    session.begin(mail)
    assert session.data_to_send() == (
        b"MAIL FROM:<ann@office.lan> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb\r\n"
        b"RCPT TO:<fax1@office.lan> NOTIFY=DELAY,FAILURE ORCPT=rfc822;fax1@office.lan\r\nDATA\r\n"
    )


def test_the_null_return_path() -> None:
    session = ready(EHLO_PLAIN)
    session.begin(Envelope(None, recipients("fax1@office.lan")))
    assert session.data_to_send() == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize("mail", [envelope("fäx@office.lan"), envelope(smtputf8=True)])
def test_smtputf8_not_offered_is_a_verdict_without_a_word(mail: Envelope) -> None:
    session = ready(EHLO_PLAIN)
    session.begin(mail)
    assert session.data_to_send() == b""
    done = session.next_event()
    assert isinstance(done, MailDone)
    assert done.replies[0].is_permanent
    assert done.replies[0].status == "5.6.7"
    assert session.state is State.READY


def test_smtputf8_is_not_insisted_on_for_a_mail_that_is_all_ascii() -> None:
    session = ready(EHLO_PLAIN)
    session.begin(envelope(smtputf8=True), CONTENT)
    assert session.data_to_send() == b"MAIL FROM:<ann@office.lan>\r\n"


def test_mail_refused() -> None:
    session = ready()
    session.begin(envelope("a@b.lan", "c@b.lan"))
    session.data_to_send()
    refused = b"552 5.3.4 too big\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n"
    assert codes(events(session, refused)[0]) == [552, 552]
    assert session.state is State.READY


@pytest.mark.parametrize("ehlo", [EHLO, EHLO_PLAIN])
def test_all_recipients_refused(ehlo: bytes) -> None:
    session = ready(ehlo)
    session.begin(envelope())
    session.data_to_send()
    answers = [b"250 ok\r\n", b"450 4.2.0 later\r\n", b"554 5.5.1 none\r\n"]
    reached = events(session, b"".join(answers)) if ehlo is EHLO else stepwise(session, answers)
    assert codes(reached[0]) == [450]
    assert session.data_to_send() == b"RSET\r\n"


def stepwise(session: SmtpClient, answers: Iterable[bytes]) -> list[Event]:
    reached: list[Event] = []
    for answer in answers:
        reached += events(session, answer)
        if reached:
            break
        session.data_to_send()
    return reached


def test_content_wanted_though_all_recipients_were_refused_gets_only_its_end() -> None:
    session = ready()
    session.begin(envelope())
    session.data_to_send()
    assert events(session, b"250 ok\r\n550 no\r\n354 go\r\n") == []
    assert session.data_to_send() == b".\r\n"
    assert codes(events(session, b"250 sent to nobody\r\n")[0]) == [550]
    assert session.state is State.READY


def test_content_without_a_last_line_end_gets_one() -> None:
    session = ready()
    session.begin(envelope())
    events(session, b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.data_to_send()
    session.write(b"no end\r")
    session.write(b"x")
    session.end()
    assert session.data_to_send() == b"no end\rx\r\n.\r\n"


def test_421_decides_for_all_that_are_undecided() -> None:
    session = ready()
    session.begin(envelope("a@b.lan", "c@b.lan", "d@b.lan"))
    session.data_to_send()
    assert codes(events(session, b"250 ok\r\n550 no\r\n421 4.3.2 off\r\n")[0]) == [550, 421, 421]
    assert session.state is State.CLOSED


def test_a_refusal_amid_the_content_is_the_verdict() -> None:
    session = ready()
    session.begin(envelope())
    events(session, b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.write(CONTENT)
    assert codes(events(session, b"552 5.3.4 enough\r\n")[0]) == [552]
    assert session.state is State.CLOSED


def test_421_amid_the_recipients_decides_for_the_rest_of_them() -> None:
    session = ready()
    session.begin(envelope("a@b.lan", "c@b.lan", "d@b.lan"))
    session.data_to_send()
    assert codes(events(session, b"250 ok\r\n250 ok\r\n421 4.3.2 off\r\n")[0]) == [421, 421, 421]


def test_421_right_behind_the_verdict_leaves_it_valid() -> None:
    session = ready(EHLO_CHUNKING)
    session.begin(envelope(), CONTENT)
    assert codes(events(session, b"250 ok\r\n250 ok\r\n250 taken\r\n421 that was enough\r\n")[0]) == [250]
    assert session.state is State.CLOSED


def test_one_answer_too_many_is_no_verdict() -> None:
    session = ready(EHLO_CHUNKING)
    session.begin(envelope(), CONTENT)
    (closed,) = events(session, b"250 ok\r\n250 and\r\n250 ok\r\n554 not taken\r\n")
    assert isinstance(closed, Closed)
    assert "more often" in closed.text


@pytest.mark.parametrize(
    "answers",
    [
        b"354 go\r\n",  # to MAIL
        b"250 ok\r\n354 go\r\n",  # to RCPT
        b"250 ok\r\n250 ok\r\n250 ok\r\n",  # to DATA
        b"250 ok\r\n250 ok\r\n354 go\r\n250 thanks already\r\n",  # before the content
        b"250 ok\r\n250 ok\r\n354 go\r\n354 go\r\n",
        b"hello\r\n",
    ],
)
def test_answers_in_the_wrong_place_never_become_a_verdict(answers: bytes) -> None:
    session = ready()
    session.begin(envelope())
    session.data_to_send()
    reached = events(session, answers)
    assert isinstance(reached[-1], Closed)
    assert not [event for event in reached if isinstance(event, MailDone)]


def test_an_answer_before_its_question_is_not_taken_for_the_answer() -> None:
    session = ready(EHLO_PLAIN)
    session.begin(envelope())
    session.data_to_send()
    (closed,) = events(session, b"250 ok\r\n250 ok\r\n")
    assert isinstance(closed, Closed)
    assert "before it was asked" in closed.text


def test_words_while_idle_end_the_session() -> None:
    (closed,) = events(ready(), b"421 4.4.2 idle too long\r\n")
    assert isinstance(closed, Closed)
    assert closed.reply is not None
    assert isinstance(events(ready(), b"250 psst\r\n")[0], Closed)


def test_a_lost_connection_says_what_was_waited_for() -> None:
    session = ready()
    session.begin(envelope())
    session.receive_eof()
    event = session.next_event()
    assert event == Closed("closed the connection before answering MAIL", "4.4.2")
    assert not session.mail_answered


def test_a_lost_connection_leaves_a_refusal_valid() -> None:
    session = ready()
    session.begin(envelope())
    events(session, b"250 ok\r\n550 5.1.1 no\r\n")
    session.receive_eof()
    event = session.next_event()
    assert event is not None
    assert codes(event) == [550]


def test_after_the_end_of_data_a_lost_connection_is_no_verdict() -> None:
    session = ready()
    session.begin(envelope())
    events(session, b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.end()
    session.receive_eof()
    assert session.next_event() == Closed("closed the connection before answering the end of data", "4.4.2")


def test_it_quits() -> None:
    session = ready()
    session.quit()
    assert session.data_to_send() == b"QUIT\r\n"
    assert events(session, b"221 bye\r\n") == []
    assert session.state is State.CLOSED


def test_our_own_faults_raise() -> None:
    session = SmtpClient("mail")
    with pytest.raises(LocalProtocolError):
        session.begin(envelope())
    session = ready()
    with pytest.raises(LocalProtocolError):
        session.write(b"x")
    with pytest.raises(LocalProtocolError):
        session.begin(Envelope(None))
    with pytest.raises(LocalProtocolError, match="line end"):
        ready().begin(envelope(envid="x\r\nRCPT TO:<all@office.lan>"))


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


# ---- hypothesis

Answer = Callable[[bytes], bytes]
_verdict = st.sampled_from([b"250 2.0.0 ok", b"250-a\r\n250 b", b"450 4.2.1 later", b"550 5.1.1 no", b"421 off"])


@given(
    ehlo=st.sampled_from([EHLO, EHLO_CHUNKING, EHLO_PLAIN]),
    mail=_verdict,
    rcpt=st.lists(_verdict, min_size=1, max_size=3),
    data=st.sampled_from([b"354 go", b"354-go\r\n354 on", b"554 5.5.1 none", b"421 off"]),
    final=_verdict,
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_any_cut_of_the_same_replies_gives_the_same_events(
    ehlo: bytes, mail: bytes, rcpt: list[bytes], data: bytes, final: bytes, cuts: list[int]
) -> None:
    def converse(cuts: list[int]) -> tuple[list[Event], bytes, State]:
        session, said, reached = ready(ehlo), b"", list[Event]()
        to_answer = iter(rcpt)
        session.begin(envelope(*[f"fax{n}@office.lan" for n in range(len(rcpt))]), CONTENT)
        while out := session.data_to_send():
            said += out
            answers = b""
            for line in out.split(b"\r\n"):
                if line.startswith(b"MAIL"):
                    answers += mail + b"\r\n"
                elif line.startswith(b"RCPT"):
                    answers += next(to_answer) + b"\r\n"
                elif line.startswith(b"DATA"):
                    answers += data + b"\r\n"
                elif line.startswith(b"BDAT") or line == b".":
                    answers += final + b"\r\n"
                elif line.startswith(b"RSET"):
                    answers += b"250 ok\r\n"
            at, turn = 0, 0
            while at < len(answers):
                step = cuts[turn % len(cuts)]
                reached += events(session, answers[at : at + step])
                at, turn = at + step, turn + 1
            if session.state is State.CONTENT:
                session.write(CONTENT)
                session.end()
        return reached, said, session.state

    whole = converse([10_000])
    assert converse(cuts) == whole
    assert sum(isinstance(event, MailDone) for event in whole[0]) == 1


@given(
    st.sampled_from([b"", b"220 hi\r\n", b"220 hi\r\n" + EHLO_CHUNKING]),
    st.lists(st.binary(max_size=40), max_size=15),
)
def test_no_bytes_raise(start: bytes, pieces: list[bytes]) -> None:
    session = SmtpClient("mail")
    events(session, *start.splitlines(keepends=True))
    if session.state is State.READY:
        session.begin(envelope(), CONTENT)
    for piece in pieces:
        events(session, piece)
        session.data_to_send()
        if session.state is State.CONTENT:
            session.write(CONTENT)
            session.end()
    session.receive_eof()
    events(session, b"")
    assert session.state is State.CLOSED


BY_CERTIFICATE = Proof(ProofKind.TLS, "ab" * 32)
BY_NAME = Proof.of_greeting("Fax1.office.lan")


def closed(event: Event) -> Closed:
    assert isinstance(event, Closed)
    return event


@pytest.mark.parametrize("greeting", [b"220 fax1.office.lan\r\n", b"220-FAX1.office.lan ESMTP\r\n220 hi\r\n"])
def test_a_peer_that_greets_by_its_name_is_believed(greeting: bytes) -> None:
    session = SmtpClient("mail", proof=BY_NAME)
    assert events(session, greeting, EHLO) == [Ready()]


@pytest.mark.parametrize(
    "greeting", [b"220 camera ESMTP\r\n", b"220 \r\n", b"220\r\n", b"220 fax1.office.lan.evil\r\n"]
)
def test_a_peer_that_greets_otherwise_is_told_nothing(greeting: bytes) -> None:
    session = SmtpClient("mail", proof=BY_NAME)
    (end,) = events(session, greeting)
    assert closed(end).wrong_machine
    assert session.data_to_send() == b""


def test_tls_begins_where_a_certificate_is_to_be_shown_and_ehlo_is_said_again() -> None:
    session = SmtpClient("mail", proof=BY_CERTIFICATE)
    assert events(session, b"220 hi\r\n", b"250-terminal\r\n250-CHUNKING\r\n250 STARTTLS\r\n") == []
    assert session.data_to_send() == b"EHLO mail\r\nSTARTTLS\r\n"
    assert events(session, b"220 2.0.0 go\r\n") == [StartTls()]
    session.tls_started()
    assert not session.extensions
    assert session.data_to_send() == b"EHLO mail\r\n"
    assert events(session, EHLO) == [Ready()]
    assert "CHUNKING" not in session.extensions


@pytest.mark.parametrize(
    "answers",
    [
        (b"250 terminal\r\n",),
        (b"502 what?\r\n", b"250 old\r\n"),
        (b"250-terminal\r\n250 STARTTLS\r\n", b"454 4.7.0 not now\r\n"),
    ],
)
def test_a_peer_that_cannot_show_a_certificate_is_another_machine(answers: tuple[bytes, ...]) -> None:
    session = SmtpClient("mail", proof=BY_CERTIFICATE)
    (end,) = events(session, b"220 hi\r\n", *answers)
    assert closed(end).wrong_machine
    assert session.state is State.CLOSED


def test_what_was_sent_in_the_clear_before_tls_is_not_taken_for_an_answer_over_it() -> None:
    session = SmtpClient("mail", proof=BY_CERTIFICATE)
    events(session, b"220 hi\r\n", b"250-terminal\r\n250 STARTTLS\r\n")
    session.data_to_send()
    assert events(session, b"220 go\r\n250 injected\r\n") == [StartTls()]
    session.tls_started()
    end = session.next_event()
    assert isinstance(end, Closed)
    assert "clear" in end.text
    assert session.next_event() is None


def logging_in(ehlo: bytes, *, needs_tls: bool = False) -> tuple[SmtpClient, list[Event]]:
    session = SmtpClient("mail", login=Login("anna", "s3cret", needs_tls))
    reached = events(session, b"220 hi\r\n", ehlo)
    return session, reached


def test_a_login_by_plain_comes_before_the_first_mail() -> None:
    session, reached = logging_in(b"250-mail\r\n250 AUTH LOGIN PLAIN\r\n")
    assert reached == []
    assert session.data_to_send() == b"EHLO mail\r\nAUTH PLAIN AGFubmEAczNjcmV0\r\n"
    assert events(session, b"235 2.7.0 welcome\r\n") == [Ready()]
    session.begin(envelope())
    assert session.data_to_send().startswith(b"MAIL FROM")


def test_a_login_by_login_answers_each_challenge() -> None:
    session, _ = logging_in(b"250-mail\r\n250 AUTH CRAM-MD5 LOGIN\r\n")
    assert session.data_to_send().endswith(b"AUTH LOGIN\r\n")
    said = []
    for challenge in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
        assert events(session, challenge) == []
        said.append(session.data_to_send())
    assert said == [b"YW5uYQ==\r\n", b"czNjcmV0\r\n"]
    assert events(session, b"235 welcome\r\n") == [Ready()]


def test_a_login_that_is_refused_ends_the_session_in_the_servers_words() -> None:
    session, _ = logging_in(b"250-mail\r\n250 AUTH PLAIN\r\n")
    (closed,) = events(session, b"535 5.7.8 wrong password\r\n")
    assert isinstance(closed, Closed)
    assert closed.text == "does not let anna log in: 535 5.7.8 wrong password"
    assert "s3cret" not in repr(session._login)


@pytest.mark.parametrize(
    ("ehlo", "needs_tls", "told"),
    [
        (b"250 mail\r\n", False, "offers no login"),
        (b"250-mail\r\n250 AUTH CRAM-MD5\r\n", False, "but by CRAM-MD5"),
        (b"250-mail\r\n250 AUTH PLAIN\r\n", True, "offers no TLS"),
    ],
)
def test_a_login_that_is_not_possible_is_said_and_the_password_is_not(
    ehlo: bytes, needs_tls: bool, told: str
) -> None:
    session, reached = logging_in(ehlo, needs_tls=needs_tls)
    (closed,) = reached
    assert isinstance(closed, Closed)
    assert told in closed.text
    assert session.data_to_send() == b"EHLO mail\r\n"


def test_a_login_that_needs_tls_waits_for_it() -> None:
    session, reached = logging_in(b"250-mail\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", needs_tls=True)
    assert reached == []
    assert session.data_to_send() == b"EHLO mail\r\nSTARTTLS\r\n"
    assert events(session, b"220 go\r\n") == [StartTls()]
    session.tls_started()
    assert session.data_to_send() == b"EHLO mail\r\n"
    assert events(session, b"250-mail\r\n250 AUTH PLAIN\r\n") == []
    assert session.data_to_send().startswith(b"AUTH PLAIN")


def test_a_challenge_to_plain_is_no_answer_to_it() -> None:
    session, _ = logging_in(b"250-mail\r\n250 AUTH PLAIN\r\n")
    assert isinstance(events(session, b"334 \r\n")[0], Closed)
