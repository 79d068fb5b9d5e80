"""POP3, server side, without I/O: bytes in, events out, one answer to each (RFC 1939).

With CAPA and PIPELINING (RFC 2449), STLS (RFC 2595), AUTH PLAIN (RFC 5034), response codes (RFC 2449, RFC 3206).
It holds the session's view of the mailbox, numbers and marks included; mails themselves pass through. No input
raises: what the client does wrong is answered, and too much of it ends the session. UTF8 (RFC 6856) is not
offered, since it forbids to show a mail with UTF-8 headers to programs that do not ask for it.

The caller's order: `receive_data`; then `next_event` until it gives None, each event but Flush answered, what
`data_to_send` gives sent in between; then `state`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

from lanpost.errors import LocalProtocolError
from lanpost.wire.pop3_events import Commit, Event, Flush, Login, Maildrop, Refused, Retrieve, StartTls

MAX_LINE = 2048  # octets, line end included; 255 at least (RFC 2449 §4), AUTH PLAIN of 3 x 255 octets takes 1,028
MAX_ERRORS = 20  # unknown, malformed or misplaced commands before we hang up
MAX_WRONG_PASSWORDS = 5
MAX_COMMANDS_BEFORE_LOGIN = 100
MAX_COMMANDS = 10_000  # in one session, and MAX_COMMANDS_PER_MAIL for each mail
MAX_COMMANDS_PER_MAIL = 10
MAX_UNSENT = 64 * 1024  # octets of answers; past that the caller must send before more commands are read
MAX_REPLY_TEXT = 400  # octets; a response line has 512 at most (RFC 1939 §3)
CAPABILITIES = (
    "TOP",
    "UIDL",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "PIPELINING",
    "EXPIRE NEVER",
    "IMPLEMENTATION lanpost",
)


class State(StrEnum):
    """RFC 1939 §3."""

    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    UPDATE = "update"
    CLOSED = "closed"  # send what is due, then close


MOVES: dict[State, dict[str, State]] = {  # each legal command, and the state a positive answer leads to
    State.AUTHORIZATION: {
        "USER": State.AUTHORIZATION,
        "PASS": State.TRANSACTION,
        "AUTH": State.TRANSACTION,
        "STLS": State.AUTHORIZATION,
        "CAPA": State.AUTHORIZATION,
        "QUIT": State.CLOSED,
    },
    State.TRANSACTION: {
        **dict.fromkeys(("STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "NOOP", "RSET", "CAPA"), State.TRANSACTION),
        "QUIT": State.UPDATE,
    },
    State.UPDATE: {},
    State.CLOSED: {},
}


class Pop3Server:
    """One session. `state` says how far it is; `secure` whether TLS has begun."""

    def __init__(self, *, tls_available: bool, plaintext_allowed: bool) -> None:
        """`plaintext_allowed`: this client may show its password without TLS."""
        self.state = State.AUTHORIZATION
        self.secure = False
        self._tls_available = tls_available
        self._plaintext_allowed = plaintext_allowed
        self._received = bytearray()
        self._to_send = [b"+OK lanpost POP3 server ready\r\n"]
        self._unsent = 0
        self._open: Event | None = None  # awaits its answer
        self._content_begun = False
        self._content_end = b""
        self._sasl_begun = False  # the next line is the client's response (RFC 5034 §4)
        self._user = ""
        self._errors = self._wrong_passwords = self._commands = 0
        self._drop = Maildrop((), ())
        self._deleted: set[int] = set()

    @property
    def buffered(self) -> int:
        """Octets received and not yet looked at: read no more while they are many."""
        return len(self._received)

    def receive_data(self, data: bytes) -> None:
        """What came from the client."""
        if self.state is not State.CLOSED:
            self._received += data

    def data_to_send(self) -> bytes:
        """What is due to the client; it is handed out once."""
        data = b"".join(self._to_send)
        self._to_send.clear()
        self._unsent = 0
        return data

    def next_event(self) -> Event | None:
        """What the client wants next; None when more data is needed or the session is over.

        LocalProtocolError: our caller left the last event unanswered.
        """
        self._expect_no_open_event()
        while self.state is not State.CLOSED:
            if self._unsent >= MAX_UNSENT:
                return Flush()
            line = self._take_line()
            if line is None:
                return None
            self._handle(line)
            if self._open is not None:
                return self._open
        return None

    def send_content(self, chunk: bytes) -> None:
        """More of the mail that Retrieve asked for: CRLF lines, dot-stuffed, cut anywhere."""
        if not isinstance(self._open, Retrieve):
            raise LocalProtocolError("no mail was asked for")
        self._begin_content(self._open)
        if chunk:
            self._send(chunk)
            self._content_end = (self._content_end + chunk[-2:])[-2:]

    def answer(self, answer: Maildrop | Refused | None) -> None:
        """The outcome of the last event: None says that it was done. LocalProtocolError where it cannot be so."""
        event, self._open = self._open, None
        if isinstance(answer, Refused):
            self._answer_refused(event, answer)
        elif isinstance(event, Login) and answer is not None:
            self._drop = answer
            self.state = State.TRANSACTION
            self._ok(self._totals())
        elif isinstance(event, StartTls) and answer is None:
            # RFC 2595 §4: nothing learnt in the clear is kept, nor what was sent in the clear behind STLS.
            self.secure, self._user = True, ""
            self._received.clear()
        elif isinstance(event, Retrieve) and answer is None:
            self._begin_content(event)
            self._send(b".\r\n" if self._content_end in (b"", b"\r\n") else b"\r\n.\r\n")
            self._content_begun = False
        elif isinstance(event, Commit) and answer is None:
            self._ok("Goodbye")
            self.state = State.CLOSED
        else:
            raise LocalProtocolError(f"{answer} does not answer {event}")

    def _answer_refused(self, event: Event | None, answer: Refused) -> None:
        if event is None:
            raise LocalProtocolError("nothing was asked")
        if self._content_begun:
            # The mail broke off: only a lost connection tells the client that it does not have all of it.
            self.state = State.CLOSED
            return
        self._err(answer.text, answer.code)
        if isinstance(event, (Commit, StartTls)):
            self.state = State.CLOSED
        elif isinstance(event, Login) and answer.code == "AUTH":
            self._wrong_passwords += 1
            if self._wrong_passwords >= MAX_WRONG_PASSWORDS:
                self.state = State.CLOSED

    def _take_line(self) -> str | None:
        """The next line without its end; a bare LF ends one too, as people type it."""
        end = self._received.find(b"\n", 0, MAX_LINE)
        if end < 0:
            if len(self._received) >= MAX_LINE:
                self._err(f"a line of more than {MAX_LINE} octets")
                self._close()
            return None
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        line = line.removesuffix(b"\r")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            return line.decode("latin-1")  # what old programs send

    def _handle(self, line: str) -> None:
        self._commands += 1
        if self._commands > self._allowed_commands():
            self._err("too many commands in one session")
            self._close()
            return
        if self._sasl_begun:
            self._sasl_begun = False
            self._take_sasl_response(line)
            return
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        if verb in MOVES[self.state]:
            _HANDLERS[verb](self, argument)
        elif any(verb in moves for moves in MOVES.values()):
            self._offence(f"{verb} is not valid in the {self.state} state")
        else:
            self._offence("unknown command")

    def _allowed_commands(self) -> int:
        if self.state is State.AUTHORIZATION:
            return MAX_COMMANDS_BEFORE_LOGIN
        return MAX_COMMANDS + MAX_COMMANDS_PER_MAIL * len(self._drop.sizes)

    # AUTHORIZATION

    def _may_log_in(self) -> bool:
        if self.secure or self._plaintext_allowed:
            return True
        remedy = "give STLS first" if self._tls_available else "this server has no TLS for you"
        self._offence(f"no password may cross the network in the clear: {remedy}")
        return False

    def _on_user(self, argument: str) -> None:
        if not self._may_log_in():
            return
        self._user = argument.strip()
        if self._user:
            self._ok("Password, please")  # also for users that do not exist: it must not tell
        else:
            self._offence("USER needs a mail address")

    def _on_pass(self, argument: str) -> None:
        if not self._user:
            self._offence("give USER first")
            return
        user, self._user = self._user, ""
        self._open = Login(user, argument)  # its spaces are part of the password (RFC 1939 §7)

    def _on_auth(self, argument: str) -> None:
        mechanism, _, response = argument.strip().partition(" ")
        if not mechanism:
            self._ok("Mechanisms follow")  # not in RFC 5034; older clients ask so
            self._send(b"PLAIN\r\n.\r\n" if self.secure or self._plaintext_allowed else b".\r\n")
        elif mechanism.upper() != "PLAIN":
            self._offence("only PLAIN is known here")
        elif self._may_log_in():
            if response:
                self._take_sasl_response(response)
            else:
                self._sasl_begun = True
                self._send(b"+ \r\n")

    def _take_sasl_response(self, response: str) -> None:
        """RFC 4616: authorization identity, NUL, login, NUL, password, in base64."""
        if response == "*":
            self._offence("AUTH given up")
            return
        try:
            plain = base64.b64decode("" if response == "=" else response, validate=True).decode("utf-8")
            authorization, login, password = plain.split("\0")
        except (binascii.Error, ValueError):
            self._offence("this is no AUTH PLAIN response")
            return
        if authorization not in ("", login):
            self._offence("nobody may read the mailbox of somebody else", "AUTH")
            return
        self._open = Login(login, password)

    def _on_stls(self, argument: str) -> None:
        if argument.strip():
            self._offence("STLS takes no argument")
        elif self.secure:
            self._offence("TLS stands already")
        elif not self._tls_available:
            self._offence("no TLS here")
        else:
            self._ok("Begin TLS negotiation")
            self._open = StartTls()

    def _on_capa(self, _argument: str) -> None:
        lines = list(CAPABILITIES)
        if self.state is State.AUTHORIZATION:
            if self.secure or self._plaintext_allowed:
                lines += ["USER", "SASL PLAIN"]
            if self._tls_available and not self.secure:
                lines.append("STLS")
        self._ok("Capabilities follow")
        self._send_lines(lines)

    # TRANSACTION

    def _on_stat(self, _argument: str) -> None:
        kept = [self._drop.sizes[index] for index in self._kept()]
        self._ok(f"{len(kept)} {sum(kept)}")

    def _on_list(self, argument: str) -> None:
        self._listing(argument, lambda index: str(self._drop.sizes[index]), self._totals)

    def _on_uidl(self, argument: str) -> None:
        self._listing(argument, lambda index: self._drop.unique_ids[index], lambda: "Unique ids follow")

    def _listing(self, argument: str, shown: Callable[[int], str], title: Callable[[], str]) -> None:
        if not argument.strip():
            self._ok(title())
            self._send_lines([f"{index + 1} {shown(index)}" for index in self._kept()])
        elif (index := self._index(argument)) is not None:
            self._ok(f"{index + 1} {shown(index)}")

    def _on_retr(self, argument: str) -> None:
        index = self._index(argument)
        if index is not None:
            self._retrieve(Retrieve(index))

    def _on_top(self, argument: str) -> None:
        number, _, lines = argument.strip().partition(" ")
        count = _number(lines.strip())
        if count is None:
            self._offence("TOP needs the number of a mail and a number of lines")
        elif (index := self._index(number)) is not None:
            self._retrieve(Retrieve(index, count))

    def _retrieve(self, event: Retrieve) -> None:
        self._content_begun, self._content_end = False, b""
        self._open = event

    def _on_dele(self, argument: str) -> None:
        index = self._index(argument)
        if index is not None:
            self._deleted.add(index)
            self._ok(f"mail {index + 1} will be deleted at QUIT")

    def _on_noop(self, _argument: str) -> None:
        self._ok("")

    def _on_rset(self, _argument: str) -> None:
        self._deleted.clear()
        self._ok(self._totals())

    def _on_quit(self, _argument: str) -> None:
        if self.state is State.TRANSACTION:
            self.state = State.UPDATE
            self._open = Commit(tuple(sorted(self._deleted)))
        else:
            self._ok("Goodbye")
            self._close()

    # What they share

    def _expect_no_open_event(self) -> None:
        if self._open is not None:
            raise LocalProtocolError(f"{self._open} is unanswered")

    def _kept(self) -> Iterator[int]:
        return (index for index in range(len(self._drop.sizes)) if index not in self._deleted)

    def _totals(self) -> str:
        kept = [self._drop.sizes[index] for index in self._kept()]
        return f"{len(kept)} mails, {sum(kept)} octets"

    def _index(self, argument: str) -> int | None:
        """The mail that a number names; what is wrong with it has been answered where there is none."""
        number = _number(argument.strip())
        if number is None:
            self._offence("the number of a mail is needed")
        elif not 1 <= number <= len(self._drop.sizes):
            self._err(f"no such mail, there are {len(self._drop.sizes)}")
        elif number - 1 in self._deleted:
            self._err(f"mail {number} is deleted")
        else:
            return number - 1
        return None

    def _begin_content(self, event: Retrieve) -> None:
        if not self._content_begun:
            self._content_begun = True
            self._ok(f"{self._drop.sizes[event.index]} octets" if event.body_lines is None else "")

    def _offence(self, text: str, code: str = "") -> None:
        self._err(text, code)
        self._errors += 1
        if self._errors >= MAX_ERRORS:
            self._close()

    def _ok(self, text: str) -> None:
        self._send(f"+OK {text}".rstrip().encode() + b"\r\n")

    def _err(self, text: str, code: str = "") -> None:
        shown = " ".join(text.split()).encode("utf-8", "replace")[:MAX_REPLY_TEXT]
        self._send(b"-ERR " + (f"[{code}] ".encode() if code else b"") + shown + b"\r\n")

    def _send_lines(self, lines: Sequence[str]) -> None:
        self._send("".join(f"{line}\r\n" for line in (*lines, ".")).encode())

    def _send(self, data: bytes) -> None:
        self._to_send.append(data)
        self._unsent += len(data)

    def _close(self) -> None:
        self.state = State.CLOSED
        self._received.clear()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


_HANDLERS: dict[str, Callable[[Pop3Server, str], None]] = {
    verb: getattr(Pop3Server, f"_on_{verb.lower()}") for moves in MOVES.values() for verb in moves
}
