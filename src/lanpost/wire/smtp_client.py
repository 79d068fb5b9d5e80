"""SMTP, client side, without I/O: replies in, commands and content out, many mails on one connection.

`begin` a mail in READY, hand over what `data_to_send` gives, feed `receive_data`, pull `next_event` until None.
Nothing that the peer says or does raises: it becomes an event. LocalProtocolError: our caller broke the order.

RFC 5321; PIPELINING (RFC 2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531), DSN (3461), CHUNKING (3030),
STARTTLS (3207), AUTH (4954).
"""

from __future__ import annotations

from enum import StrEnum

from lanpost.errors import LocalProtocolError
from lanpost.model.envelope import Envelope
from lanpost.model.proof import Proof, ProofKind
from lanpost.model.reply import Reply
from lanpost.wire import smtp_envelope
from lanpost.wire.smtp_client_events import CONTENT_WANTED, READY, START_TLS, Closed, Event, MailDone
from lanpost.wire.smtp_client_login import Login, LoginDialogue
from lanpost.wire.smtp_replies import ReplyReader, greeting_name


class State(StrEnum):
    GREETING = "greeting"  # connected, nothing said yet
    HELLO = "hello"  # EHLO, or HELO after it, is sent
    SECURING = "securing"  # STARTTLS is sent, or was answered and TLS begins
    LOGIN = "login"  # AUTH is sent
    READY = "ready"  # no mail under way
    ENVELOPE = "envelope"  # MAIL, RCPT and DATA are on their way
    CONTENT = "content"  # after 354
    FINAL = "final"  # the end of data is sent, the verdict is awaited
    RESETTING = "resetting"  # RSET is sent
    QUITTING = "quitting"  # QUIT is sent
    CLOSED = "closed"


MOVES = {  # what may happen in each state, and where it leads; to CLOSED everything may lead
    State.GREETING: {"greeted": State.HELLO},
    State.HELLO: {"welcomed": State.READY, "STARTTLS": State.SECURING, "AUTH": State.LOGIN},
    State.SECURING: {"TLS began": State.HELLO},
    State.LOGIN: {"logged in": State.READY},
    State.READY: {"begin": State.ENVELOPE, "quit": State.QUITTING},
    State.ENVELOPE: {
        "go ahead": State.CONTENT,
        "all sent": State.FINAL,
        "void": State.FINAL,
        "refused": State.READY,
        "reset": State.RESETTING,
    },
    State.CONTENT: {"end": State.FINAL},
    State.FINAL: {"verdict": State.READY, "reset": State.RESETTING},
    State.RESETTING: {"welcomed": State.READY},
    State.QUITTING: {},
    State.CLOSED: {},
}


NO_TLS = ("offers no TLS, and the password must not cross the network in the clear", "4.7.4")

_ASK_EHLO_AGAIN = frozenset({500, 501, 502, 504, 550, 554})  # by which old servers refuse EHLO (RFC 5321 §4.1.1.1)
_NO_SMTPUTF8 = Reply(550, "5.6.7", "this mail needs SMTPUTF8 and the endpoint does not offer it")  # RFC 6531 §3.5
_END = b".\r\n"
_TLS = "TLS"  # no reply: whatever is received before it has begun counts for nothing


class SmtpClient:
    """One connection's session. `hostname` is what we call ourselves: a name, or an address literal.

    `pipelining` False: wait for each reply, whatever the peer offers. `proof`: what the peer must show before it is
    given mail. `login`: who we are, said before the first mail. TLS begins only where one of them asks for it
    (RFC 3207).
    """

    __slots__ = (
        "_accepted",
        "_commands",
        "_dialogue",
        "_event",
        "_hello",
        "_login",
        "_mail",
        "_may_pipeline",
        "_proof",
        "_recipients",
        "_replies",
        "_step",
        "_tail",
        "_to_send",
        "_verdicts",
        "answers",
        "awaiting",
        "extensions",
        "secure",
        "state",
        "whole",
    )

    def __init__(
        self, hostname: str, *, pipelining: bool = True, proof: Proof | None = None, login: Login | None = None
    ) -> None:
        self.state = State.GREETING
        self.secure = False  # TLS has begun
        self.awaiting = "greeting"  # what the next reply answers, for people
        self.answers = 0  # replies so far: it moves while the peer gets on
        self.extensions: dict[str, str] = {}  # EHLO keyword -> parameters
        self._hello = hostname
        self._may_pipeline = pipelining
        self._proof = proof
        self._login = login
        self._dialogue: LoginDialogue | None = None
        self._replies = ReplyReader()
        self._to_send: list[bytes] = []
        self._event: Event | None = None  # known without a reply from the peer
        self._recipients = 0
        self._mail: Reply | None = None  # to MAIL
        self._verdicts: list[Reply] = []  # to RCPT, as far as they came
        self._accepted = False  # at least one recipient
        self._commands: list[bytes] = []  # not yet sent, where each waits for the reply to the last
        self._step = 0
        self.whole = False  # the content went along with the envelope, in a BDAT
        self._tail = b"\r\n"  # the last two octets of content; as if there were a line before it

    @property
    def pipelines(self) -> bool:
        """Commands are sent without waiting for replies."""
        return self._may_pipeline and "PIPELINING" in self.extensions

    def takes_whole(self, octets: int) -> bool:
        """A mail of this size can go out with its envelope in one write, unless it holds dot-stuffed lines."""
        if not (self.pipelines and "CHUNKING" in self.extensions):
            return False
        limit = self.extensions.get("SIZE", "")
        # RFC 1870 §4: 0 is no limit. Too big a mail is asked for in the ordinary way: it is refused at MAIL.
        return not limit.isdigit() or not 0 < int(limit[:18]) < octets

    @property
    def mail_answered(self) -> bool:
        """The peer has answered MAIL of the mail under way, or of the one that ended the session."""
        return self._mail is not None

    @property
    def half_answered(self) -> bool:
        """MAIL is answered, what was pipelined behind it is not: if it ends here, the peer may not pipeline."""
        return self.pipelines and self._mail is not None and self.awaiting in ("RCPT", "DATA", "the content")

    # ---- what the caller does

    def receive_data(self, data: bytes) -> None:
        self._replies.receive_data(data)

    def receive_eof(self) -> None:
        """The peer closed, or the connection broke."""
        if self.state is not State.CLOSED and self._event is None:
            self._event = self._lost()

    def data_to_send(self) -> bytes:
        """What is to be written now; each octet is given once."""
        to_send = self._to_send
        if len(to_send) == 1:
            return to_send.pop()
        data = b"".join(to_send)
        to_send.clear()
        return data

    def tls_started(self) -> None:
        """TLS has begun; what was said before counts no more (RFC 3207 §4.2)."""
        self._move("TLS began")
        self.secure = True
        self.extensions = {}
        if self._replies.has_pending:
            self.awaiting = "STARTTLS"
            self._event = self._closed("sent data in the clear behind its answer to STARTTLS", "4.7.0")
            return
        self._command(smtp_envelope.encoded(f"EHLO {self._hello}\r\n", 1), "EHLO")

    def begin(self, envelope: Envelope, content: bytes | None = None, size: int | None = None) -> None:
        """Start a mail. `content` is all of it, if it is at hand, dot-stuffed and ending with CRLF.

        Whole content goes along at once where the peer lets it (`takes_whole`) and no line of it begins with a
        dot; else ContentWanted asks for it. `size` in octets, else the envelope's, is told to the peer.
        """
        self._move("begin")
        if not envelope.recipients:
            raise LocalProtocolError("a mail without recipients")
        needs_smtputf8 = smtp_envelope.needs_smtputf8(envelope, content)
        if needs_smtputf8 and "SMTPUTF8" not in self.extensions:
            self.state = State.READY
            self._event = MailDone([_NO_SMTPUTF8] * len(envelope.recipients))
            return
        commands = smtp_envelope.commands(envelope, self.extensions, size, with_utf8=needs_smtputf8)
        self._recipients = len(envelope.recipients)
        self._mail = None
        self._verdicts = []
        self._accepted = False
        self._tail = b"\r\n"
        self.whole = (
            content is not None
            and self.takes_whole(len(content))
            and not content.startswith(b".")
            and b"\r\n." not in content
        )
        commands.append(f"BDAT {len(content)} LAST\r\n" if self.whole and content is not None else "DATA\r\n")
        if self.pipelines:
            self._command(smtp_envelope.encoded("".join(commands), len(commands)), "MAIL")
            if self.whole and content is not None:
                self._to_send.append(content)
        else:
            self._commands = [smtp_envelope.encoded(command, 1) for command in commands]
            self._step = 0
            self._next_step("MAIL")

    def write(self, chunk: bytes) -> None:
        """More content: CRLF lines, dot-stuffed, no terminator."""
        if self.state is not State.CONTENT:
            raise LocalProtocolError(f"content in state {self.state}")
        if chunk:
            self._to_send.append(chunk)
            self._tail = (self._tail + chunk[-2:])[-2:]

    def end(self) -> None:
        """The content is complete."""
        self._move("end")
        self._command(_END if self._tail == b"\r\n" else b"\r\n" + _END, "the end of data")

    def quit(self) -> None:
        """Say goodbye. The peer then closes; its answer is of no interest."""
        self._move("quit")
        self._command(b"QUIT\r\n", "QUIT")

    def next_event(self) -> Event | None:
        """The next event; None when more data is needed or the session is over."""
        while True:
            if self._event is not None:
                event, self._event = self._event, None
                if isinstance(event, Closed):
                    self.state = State.CLOSED
                return event
            if self.state is State.CLOSED or self.awaiting == _TLS:
                return None
            reply = self._replies.next_reply()
            if reply is None:
                if self._replies.fault and self.state is not State.QUITTING:
                    return self._closed(f"sent {self._replies.fault}", "4.5.0")
                return None
            self.answers += 1
            reached = self._on_reply(reply)
            if reached is not None:
                return reached

    # ---- replies

    def _on_reply(self, reply: Reply) -> Event | None:
        state = self.state
        if state is State.ENVELOPE:
            return self._on_envelope_reply(reply)
        if state is State.FINAL:
            return self._on_verdict(reply)
        if state is State.CONTENT:
            return self._on_early_verdict(reply)
        if state is State.GREETING:
            return self._on_greeting(reply)
        if state is State.HELLO:
            return self._on_hello(reply)
        if state is State.LOGIN:
            return self._on_login(reply)
        if state is State.SECURING:
            if reply.code != 220:
                if self._proof is None:
                    return self._closed(f"refuses TLS: {reply}", "4.7.0", reply)
                return self._wrong_machine(f"refuses TLS ({reply})")
            self.awaiting = _TLS
            return START_TLS
        if state is State.RESETTING:
            if reply.code >= 300:
                return self._closed(f"refused RSET: {reply}", "4.5.0", reply)
            self._move("welcomed")
            return READY
        if state is State.QUITTING:
            self.state = State.CLOSED
            return None
        if reply.code == 421:  # READY: it need not wait for a command (RFC 5321 §3.8)
            return self._closed(f"ended the session: {reply}", "4.3.2", reply)
        return self._closed(f"said {str(reply)[:80]!r} without being asked", "4.5.0")

    def _on_greeting(self, reply: Reply) -> Event | None:
        if reply.code != 220:
            return self._session_refused(reply)
        if self._proof is not None and self._proof.kind is ProofKind.GREETING:
            name = greeting_name(reply)
            if name != self._proof.value:
                return self._wrong_machine(f"greets as {name[:80]!r}, not as {self._proof.value!r}")
        self._move("greeted")
        self._command(smtp_envelope.encoded(f"EHLO {self._hello}\r\n", 1), "EHLO")
        return None

    def _on_hello(self, reply: Reply) -> Event | None:
        if reply.code == 250:
            if self.awaiting == "EHLO":
                lines = reply.text.split("\n")[1:]
                parts = [line.partition(" ") for line in lines]
                self.extensions = {keyword.upper(): parameters.strip() for keyword, _, parameters in parts}
            return self._welcomed()
        if self.awaiting == "EHLO" and reply.code in _ASK_EHLO_AGAIN:
            self._command(smtp_envelope.encoded(f"HELO {self._hello}\r\n", 1), "HELO")
            return None
        return self._session_refused(reply)

    def _welcomed(self) -> Event | None:
        """EHLO is answered: TLS and login come before the first mail, where they are wanted."""
        proves = self._proof is not None and self._proof.kind is ProofKind.TLS
        if not self.secure and (proves or (self._login is not None and self._login.needs_tls)):
            if "STARTTLS" not in self.extensions:
                return self._wrong_machine("offers no TLS") if proves else self._closed(*NO_TLS)
            self._move("STARTTLS")
            self._command(b"STARTTLS\r\n", "STARTTLS")
            return None
        if self._login is None:
            self._move("welcomed")
            return READY
        self._dialogue = LoginDialogue(self._login, self.extensions.get("AUTH"))
        if self._dialogue.impossible:
            return self._closed(self._dialogue.impossible, "4.7.0")
        self._move("AUTH")
        self._command(self._dialogue.begin(), "AUTH")
        return None

    def _on_login(self, reply: Reply) -> Event | None:
        assert self._dialogue
        if reply.code == 235:
            self._move("logged in")
            return READY
        response = self._dialogue.respond(reply)
        if response is None:
            return self._closed(f"does not let {self._dialogue.user} log in: {reply}", "4.7.8", reply)
        self._command(response, "AUTH")
        return None

    def _wrong_machine(self, what: str) -> Closed:
        self.state = State.CLOSED
        return Closed(f"{what}: it is not the terminal that is bound there", "4.7.0", wrong_machine=True)

    def _session_refused(self, reply: Reply) -> Closed:
        # RFC 5321 §3.1: 554 here says "no SMTP service". Not for good all the same: it says nothing about any
        # recipient, and on a LAN with DHCP the address may just have become another machine's.
        status = reply.status if reply.status.startswith("4.") and reply.status != "4.0.0" else "4.3.2"
        return self._closed(f"refused the session: {reply}", status, reply)

    def _on_envelope_reply(self, reply: Reply) -> Event | None:
        if reply.code == 421:
            return self._ended_by(reply)
        if self._mail is None:
            if 300 <= reply.code < 400:
                return self._out_of_place(reply)
            self._mail = reply
            if self.pipelines:
                self.awaiting = "RCPT"
                return None
            if reply.code >= 300:
                return self._done("refused", None)
            self._next_step("RCPT")
            return None
        if len(self._verdicts) < self._recipients:
            return self._on_rcpt_reply(reply)
        if 300 <= reply.code < 400:
            if self._accepted:
                self._move("go ahead")
                return CONTENT_WANTED
            # RFC 2920 §3.1: DATA was sent on the chance, now it must be ended, with no content.
            self._move("void")
            self._command(_END, "the end of data")
            return None
        if reply.code < 300:
            return self._out_of_place(reply)
        return self._done("reset" if self._mail.code < 300 else "refused", reply)

    def _on_rcpt_reply(self, reply: Reply) -> Event | None:
        if 300 <= reply.code < 400:
            return self._out_of_place(reply)
        self._verdicts.append(reply)
        if reply.code < 300 and self._mail is not None and self._mail.code < 300:
            self._accepted = True
        if len(self._verdicts) < self._recipients:
            if not self.pipelines:
                self._next_step("RCPT")
            return None
        if self.whole:
            self._move("all sent")
            self.awaiting = "the content"
            return None
        if self.pipelines:
            self.awaiting = "DATA"
            return None
        if not self._accepted:
            return self._done("reset", None)
        self._next_step("DATA")
        return None

    def _on_verdict(self, reply: Reply) -> Event | None:
        if reply.code == 421:
            return self._ended_by(reply)
        if 300 <= reply.code < 400:
            return self._out_of_place(reply)
        after = self._replies.next_reply()
        if after is not None and after.code != 421:
            # One answer too many: which of them was the verdict cannot be told any more.
            return self._closed("answered more often than it was asked", "4.5.0")
        # RFC 3030 §3: after a BDAT that failed the server's state is unknown until RSET.
        done = self._done("reset" if self.whole and reply.code >= 400 else "verdict", reply)
        if after is not None:
            self._to_send.clear()
            self.state = State.CLOSED
        return done

    def _on_early_verdict(self, reply: Reply) -> Event | None:
        """The peer wants no more of the content: refused as a whole, and the connection is out of step."""
        if reply.code >= 400:
            return self._ended_by(reply)
        return self._out_of_place(reply)

    def _done(self, move: str, last: Reply | None) -> MailDone:
        verdicts = self._verdicts_with(last)
        self._mail = None
        self._move(move)
        if self.state is State.RESETTING:
            self._command(b"RSET\r\n", "RSET")
        return MailDone(verdicts)

    def _verdicts_with(self, last: Reply | None) -> list[Reply]:
        """A verdict for each recipient: MAIL's refusal, or RCPT's, or the last word for those accepted."""
        if self._mail is not None and self._mail.code >= 300:
            return [self._mail] * self._recipients
        verdicts = self._verdicts
        if last is None:
            return verdicts
        missing = [last] * (self._recipients - len(verdicts))
        return [last if verdict.code < 300 else verdict for verdict in verdicts] + missing

    def _ended_by(self, reply: Reply) -> MailDone:
        """421, or a refusal in the middle of the content: the last word for all that are undecided."""
        verdicts = self._verdicts_with(reply)
        self.state = State.CLOSED
        return MailDone(verdicts)

    def _lost(self) -> Event:
        if self.state in (State.ENVELOPE, State.FINAL) and self._mail is not None:
            all_refused = len(self._verdicts) == self._recipients and not self._accepted
            if self._mail.code >= 300 or all_refused:  # nothing depends on the answers that are missing
                return self._ended_by(Reply(421, "4.4.2", "connection closed"))
        idle = self.state in (State.READY, State.CONTENT)
        return Closed(f"closed the connection{'' if idle else ' before answering ' + self.awaiting}", "4.4.2")

    def _out_of_place(self, reply: Reply) -> Closed:
        return self._closed(
            f"answered {'the content' if self.state is State.CONTENT else self.awaiting} with {str(reply)[:80]!r}",
            "4.5.0",
        )

    def _closed(self, text: str, status: str, reply: Reply | None = None) -> Closed:
        self.state = State.CLOSED
        self._event = None
        return Closed(text, status, reply)

    # ---- commands

    def _move(self, cause: str) -> None:
        try:
            self.state = MOVES[self.state][cause]
        except KeyError:
            raise LocalProtocolError(f"{cause!r} is not possible in state {self.state}") from None

    def _command(self, data: bytes, name: str) -> None:
        self._to_send.append(data)
        self.awaiting = name
        if self._replies.has_pending:
            # It would be taken for the answer to what it came before.
            self._event = Closed(f"answered {name} before it was asked", "4.5.0")

    def _next_step(self, name: str) -> None:
        self._command(self._commands[self._step], name)
        self._step += 1
