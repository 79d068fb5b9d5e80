"""SMTP, server side, without I/O (RFC 5321): bytes in, events out, one answer to each event that wants one.

Use: `greet`; then `receive_data`, every `next_event` (with `answer` where due) and `data_to_send`, until `state`
is CLOSED. Nothing the client sends raises: it becomes a reply, and too much of it closes the session.
LocalProtocolError: our own caller answered what was not asked.

The events, and what answers them:

    Envelope       MAIL                                    a reply; a positive one opens the transaction
    Recipient      RCPT                                    a reply; a positive one makes it a recipient
    START_CONTENT  DATA, or the first BDAT                 354 in either case, or the reply that refuses
    bytes          content: CRLF lines, dot-stuffed        nothing
    END_CONTENT    the mail is complete                    the final reply
    Refused        the mail will never be complete         nothing: the client is told at its end
    RESET          RSET or EHLO: forget the transaction    nothing
    Credentials    AUTH                                    235, or the reply that refuses
    START_TLS      STARTTLS                                220, and then `tls_started`; or the reply that refuses
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from lanpost.errors import LocalProtocolError
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.reply import OK, RECIPIENT_OK, SENDER_OK, START_CONTENT, TOO_BIG, Reply
from lanpost.wire import smtp_commands
from lanpost.wire import smtp_server_replies as say
from lanpost.wire.data_scanner import DataScanner
from lanpost.wire.smtp_events import Event, Refused, Signal, SmtpTerms
from lanpost.wire.smtp_login import MAX_AUTH_LINE, MECHANISMS, Credentials, LoginDialogue
from lanpost.wire.smtp_moves import HTTP, MOVES, State, why_not

MAX_SWALLOWED_LINE = 65_536  # octets of one over-long line; behind that it is no command but a flood
MAX_SWALLOWED_MAIL = 2  # times the greatest mail: so much of a refused one is read in order to answer it

_CONTROLS = bytes(range(32)) + b"\x7f"
_CR = 13
# These live as long as the program, so their identity stands for their text.
_ENCODED = {id(reply): reply.encode() for reply in (OK, SENDER_OK, RECIPIENT_OK, START_CONTENT, say.BYE)}


@dataclass(slots=True)
class _Chunk:
    """A BDAT chunk on its way in."""

    left: int  # octets
    last: bool
    refusal: Reply | None = None  # it is only swallowed, and answered so


class SmtpServer:
    """One session. See the module's text for its use.

    `tls_available`: STARTTLS can be done; `login_in_clear`: this client may log in without it. `hello`, `extended`
    and `login` are what the client said so far. `complaint` is the last reply that refused something.
    """

    # fmt: off
    __slots__ = (
        "_at", "_chunk", "_commands", "_complete", "_dialogue", "_errors", "_login_in_clear", "_next_state",
        "_open", "_received", "_recipients", "_scanner", "_smtputf8", "_spoilt", "_swallowed", "_terms",
        "_tls_available", "_to_send", "complaint", "extended", "hello", "login", "state", "tls_active",
    )
    # fmt: on

    def __init__(self, terms: SmtpTerms, *, tls_available: bool = False, login_in_clear: bool = False) -> None:
        self._terms = terms
        self._tls_available = tls_available
        self._login_in_clear = login_in_clear
        self.tls_active = False
        self.complaint: Reply | None = None
        self._errors = 0
        self._commands = 0
        self._to_send = b""
        self._begin(State.CONNECTED)

    def _begin(self, state: State) -> None:
        """Nothing that the client said is known."""
        self.state = state
        self.hello = ""
        self.extended = False
        self.login = ""
        self._received = b""
        self._at = 0  # so much of `_received` is done with
        self._swallowed = 0  # octets of an over-long line
        self._open: Event | None = None
        self._next_state = state
        self._dialogue: LoginDialogue | None = None
        self._chunk: _Chunk | None = None
        self._smtputf8 = False  # as the last MAIL said
        self._scanner = DataScanner()
        self._forget_mail()

    def _forget_mail(self) -> None:
        self._recipients = 0
        self._spoilt: Reply | None = None  # what the end of the content will be answered with
        self._complete = False  # the end was seen, and END_CONTENT comes next

    @property
    def is_idle(self) -> bool:
        """No mail and no command is under way: a good moment to part."""
        return self.state <= State.READY and self._open is None and self._dialogue is None and self._chunk is None

    @property
    def receives_content(self) -> bool:
        """The client is in the middle of a mail's content."""
        return self.state is State.CONTENT or self._chunk is not None

    @property
    def pending(self) -> int:
        """Octets received and not looked at yet."""
        return len(self._received) - self._at

    def greet(self) -> None:
        """Say 220. Whoever spoke before is sent away."""
        if self.state is State.CONNECTED:
            self.state = State.GREETED
            self._to_send += Reply(220, "", f"{self._terms.hostname} ESMTP lanpost").encode()

    def receive_data(self, data: bytes) -> None:
        """Take what the network gave."""
        if self.state is State.CONNECTED:
            self.close(say.EARLY_TALKER)
        elif self.state is State.TLS:
            self.close(say.EARLY_CONTENT)
        elif self.state is not State.CLOSED:
            self._received = self._received[self._at :] + data
            self._at = 0

    def data_to_send(self) -> bytes:
        """The replies since the last call, for one write."""
        data, self._to_send = self._to_send, b""
        return data

    def next_event(self) -> Event | None:
        """The next event. None: one is unanswered, or more data is needed, or the session is over."""
        if self._open is not None:
            return None
        while self.state < State.TLS:
            event: Event | Reply | None
            if self._complete:
                self._complete = False
                self._next_state = State.READY
                event = Signal.END_CONTENT
            elif self._at == len(self._received) and (self._chunk is None or self._chunk.left):
                return None
            elif self._chunk is not None:
                event = self._take_chunk(self._chunk)
            elif self.state is State.CONTENT:
                event = self._take_content()
            else:
                line = self._take_line()
                if line is None:
                    return None
                event = self._command(line) if self._dialogue is None else self._log_in(self._dialogue, line)
            kind = type(event)
            if kind is bytes or kind is Refused or event is Signal.RESET:
                return event  # type: ignore[return-value]  # a Reply is none of these
            if isinstance(event, Reply):
                self._say(event)
            elif event is not None:
                self._open = event
                return event
        return None

    def answer(self, reply: Reply) -> None:
        """Answer the last event. Raises LocalProtocolError if it wanted no answer."""
        event, self._open = self._open, None
        if event is None:
            raise LocalProtocolError(f"{reply} answers nothing")
        if self._at < len(self._received) and (
            event is Signal.START_TLS or (event is Signal.START_CONTENT and self._chunk is None)
        ):
            # Injected in the clear (RFC 3207 §6, CVE-2011-0411), or content that a refusal would make commands.
            self.close(say.EARLY_CONTENT)
            return
        if reply.is_positive:
            self._proceed(event)
        elif event is Signal.START_CONTENT or event is Signal.END_CONTENT:
            self._end_mail()
        if event is not Signal.START_CONTENT or self._chunk is None:
            self._say(reply)
        elif not reply.is_positive:
            self._chunk.refusal = reply  # said when the chunk is swallowed

    def tls_started(self) -> None:
        """The handshake is done: a new session over it, which remembers nothing (RFC 3207 §4.2)."""
        self.tls_active = True
        self._begin(State.GREETED)

    def close(self, reply: Reply) -> None:
        """Say a last word, 421 or the like, and end the session."""
        if self.state is not State.CLOSED:
            self.complaint = reply
            self._to_send += self._encoded(reply)
            self.state = State.CLOSED

    def _proceed(self, event: Event) -> None:
        """A positive answer: on to where the command leads."""
        self.state = self._next_state
        kind = type(event)
        if kind is Recipient:
            self._recipients += 1
        elif isinstance(event, Envelope):
            self._smtputf8 = event.smtputf8
        elif event is Signal.START_CONTENT:
            self._scanner = DataScanner()
        elif event is Signal.END_CONTENT:
            self._errors = self._commands = 0
            self._forget_mail()
        elif isinstance(event, Credentials):
            self.login = event.login

    def _say(self, reply: Reply) -> None:
        self._to_send += _ENCODED.get(id(reply)) or self._encoded(reply)
        if reply.code < 400:
            return
        self.complaint = reply
        if reply.code == 421:
            self.state = State.CLOSED
        elif reply.is_permanent:
            self._errors += 1
            if self._errors >= self._terms.limits.errors:
                self.close(say.TOO_MANY_ERRORS)

    def _end_mail(self) -> None:
        self.state = State.READY
        self._forget_mail()

    def _encoded(self, reply: Reply) -> bytes:
        data = reply.encode()
        if self._smtputf8 or data.isascii():
            return data
        return data.decode().encode("ascii", "replace")  # RFC 6531 §3.7.4.1: UTF-8 only to who announced it

    # Commands: each handler gives the event to be answered, or the reply.

    def _take_line(self) -> bytes | None:
        """The next line without its CRLF; None when there is none. Bad ones are answered here."""
        limit = MAX_AUTH_LINE if self._dialogue else self._terms.limits.command_octets
        while self.state < State.TLS:
            start = self._at
            end = self._received.find(b"\n", start)
            stop = end + 1 or len(self._received)
            octets = stop - start + self._swallowed
            if octets > limit:
                self._at = stop
                self._swallow_line(octets, ended=end >= 0)
            elif end < 0:
                return None
            else:
                self._at = stop
                if end > start and self._received[end - 1] == _CR:
                    return self._received[start : end - 1]
                self._say(say.BARE_LINE_FEED)
            if end < 0:
                return None
        return None

    def _swallow_line(self, octets: int, *, ended: bool) -> None:
        if not self._swallowed:
            self._dialogue = None
            self._say(say.LINE_TOO_LONG)
        self._swallowed = 0 if ended else octets
        if octets > MAX_SWALLOWED_LINE:
            self.close(say.TOO_MANY_ERRORS)

    def _command(self, line: bytes) -> Event | Reply | None:
        self._commands += 1
        if self._commands > self._terms.limits.commands:
            self.close(say.TOO_MANY_COMMANDS)
            return None
        if len(line.translate(None, _CONTROLS)) != len(line):
            return say.CONTROL_CHARACTER
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        target = MOVES[self.state].get(verb)
        if target is None:
            return self._misplaced(verb, argument)
        self._next_state = target
        return self._HANDLERS[verb](self, argument)

    def _misplaced(self, verb: bytes, argument: bytes) -> Reply | None:
        if verb in HTTP:
            self.close(say.NOT_SMTP)
            return None
        refusal = why_not(self.state, verb)
        if verb == b"BDAT":
            return self._expect_chunk(argument, refusal)
        if verb == b"DATA" and self._at < len(self._received):
            self.close(say.EARLY_CONTENT)  # it would be read as commands
            return None
        return refusal

    def _ehlo(self, argument: bytes) -> Event | Reply:
        return self._greeted(argument, extended=True)

    def _helo(self, argument: bytes) -> Event | Reply:
        return self._greeted(argument, extended=False)

    def _greeted(self, argument: bytes, *, extended: bool) -> Event | Reply:
        hello = argument.strip().decode(errors="replace")
        if not hello:
            return say.NO_NAME
        self.hello = hello
        self.extended = extended
        return self._reset(Reply(250, "", "\n".join(self._offer()) if extended else self._terms.hostname))

    def _offer(self) -> list[str]:
        lines = [self._terms.hostname, "PIPELINING", f"SIZE {self._terms.limits.mail_size}", "8BITMIME", "SMTPUTF8"]
        lines += ["ENHANCEDSTATUSCODES", "CHUNKING", "DSN"]
        if self._tls_available and not self.tls_active:
            lines.append("STARTTLS")
        if self._terms.authentication and (self.tls_active or self._login_in_clear):
            lines.append(f"AUTH {MECHANISMS}")
        return lines

    def _mail(self, argument: bytes) -> Event | Reply:
        if self._terms.submission and not self.login:
            return say.LOGIN_FIRST
        envelope = smtp_commands.parse_mail(argument, self._terms.default_domain)
        if type(envelope) is Envelope and envelope.size and envelope.size > self._terms.limits.mail_size:
            return TOO_BIG
        return envelope

    def _rcpt(self, argument: bytes) -> Event | Reply:
        if self._recipients >= self._terms.limits.recipients:
            return say.TOO_MANY_RECIPIENTS
        return smtp_commands.parse_rcpt(argument, self._terms.default_domain, smtputf8=self._smtputf8)

    def _data(self, argument: bytes) -> Event | Reply:
        return say.NO_ARGUMENT if argument.strip() else Signal.START_CONTENT

    def _bdat(self, argument: bytes) -> Event | Reply | None:
        refusal = self._expect_chunk(argument)
        if refusal or self._chunk is None:
            return refusal
        return Signal.START_CONTENT if self.state is State.RECIPIENTS else None

    def _rset(self, argument: bytes) -> Event | Reply:
        return say.NO_ARGUMENT if argument.strip() else self._reset(OK)

    def _noop(self, _argument: bytes) -> Reply:
        return OK

    def _help(self, _argument: bytes) -> Reply:
        return say.HELP_TEXT

    def _vrfy(self, argument: bytes) -> Reply:
        return say.CANNOT_VERIFY if argument.strip() else say.VRFY_SYNTAX

    def _quit(self, argument: bytes) -> Reply | None:
        if argument.strip():
            return say.NO_ARGUMENT
        self._say(say.BYE)
        self.state = State.CLOSED
        return None

    def _starttls(self, argument: bytes) -> Event | Reply:
        if argument.strip():
            return say.NO_ARGUMENT
        return Signal.START_TLS if self._tls_available and not self.tls_active else say.NOT_IMPLEMENTED

    def _auth(self, argument: bytes) -> Event | Reply:
        if not self._terms.authentication:
            return say.NOT_IMPLEMENTED
        if self.login:
            return say.ALREADY_LOGGED_IN
        if not (self.tls_active or self._login_in_clear):
            return say.TLS_FIRST
        self._dialogue = LoginDialogue()
        return self._log_in(self._dialogue, argument)

    def _log_in(self, dialogue: LoginDialogue, line: bytes) -> Event | Reply:
        said = dialogue.take(line)
        if isinstance(said, Credentials) or said.code != 334:
            self._dialogue = None
            self._next_state = State.READY
        return said

    def _reset(self, reply: Reply) -> Event | Reply:
        """Forget the mail that is under way, if there is one."""
        under_way = self.state > State.READY
        self.state = self._next_state
        self._forget_mail()
        if not under_way:
            return reply
        self._say(reply)
        return Signal.RESET

    # Content.

    def _expect_chunk(self, argument: bytes, refusal: Reply | None = None) -> Reply | None:
        """BDAT's argument; from here on its octets are no commands, whatever becomes of them."""
        chunk = smtp_commands.parse_bdat(argument)
        limit = self._terms.limits.mail_size
        if isinstance(chunk, Reply):
            self.close(chunk)
        elif chunk[0] > limit * MAX_SWALLOWED_MAIL:
            self.close(TOO_BIG)
        else:
            self._chunk = _Chunk(*chunk, refusal)
        return None

    def _take_content(self) -> Event | None:
        """The next part of what comes behind 354."""
        scanner = self._scanner
        content = scanner.feed(self._received, self._at)
        self._at = scanner.end if scanner.end >= 0 else len(self._received)
        known = self._spoilt is not None
        self._judge()
        refusal = self._spoilt
        if scanner.end >= 0 and self.state is not State.CLOSED:
            self._complete = refusal is None
            if refusal is not None:
                self._end_mail()
                self._say(refusal)
        if refusal is None:
            return content or None
        return None if known else Refused(refusal)

    def _take_chunk(self, chunk: _Chunk) -> Event | Reply | None:
        """The next part of a BDAT chunk (RFC 3030 §2)."""
        piece = self._received[self._at : self._at + chunk.left]
        self._at += len(piece)
        chunk.left -= len(piece)
        if not chunk.left:
            self._chunk = None
        if chunk.refusal:
            return None if chunk.left else chunk.refusal
        content = self._scanner.feed_chunk(piece)
        if chunk.last and not chunk.left:
            content += self._scanner.finish_chunks()
        self._judge()
        if self._spoilt is not None:
            refusal = chunk.refusal = self._spoilt
            if self.state is not State.CLOSED:
                self._end_mail()
                if not chunk.left:
                    self._say(refusal)
            return Refused(refusal)
        self._complete = chunk.last and not chunk.left
        if not (chunk.last or chunk.left):
            self._say(say.CHUNK_OK)
        return content or None

    def _judge(self) -> None:
        """May the content go on?"""
        scanner, limit = self._scanner, self._terms.limits.mail_size
        if scanner.smuggles:
            self._spoilt = say.SMUGGLED
        elif scanner.size > limit:
            self._spoilt = TOO_BIG
        if scanner.size > limit * MAX_SWALLOWED_MAIL:
            self.close(TOO_BIG)

    _HANDLERS: ClassVar[Mapping[bytes, Callable[[SmtpServer, bytes], Event | Reply | None]]] = {
        b"EHLO": _ehlo,
        b"HELO": _helo,
        b"MAIL": _mail,
        b"RCPT": _rcpt,
        b"DATA": _data,
        b"BDAT": _bdat,
        b"RSET": _rset,
        b"NOOP": _noop,
        b"HELP": _help,
        b"VRFY": _vrfy,
        b"QUIT": _quit,
        b"STARTTLS": _starttls,
        b"AUTH": _auth,
    }
