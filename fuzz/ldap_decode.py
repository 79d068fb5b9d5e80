"""`python fuzz/ldap_decode.py [CORPUS] [libFuzzer's options]`: any octets to the LDAP decoder and both sessions.

The invariant: octets are a message or refused with LdapProtocolError; a message is read again as it is written; no
session raises, and what comes of it does not depend on how the octets were cut. See fuzz/README.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

with atheris.instrument_imports(include=["lanpost.wire"]):
    from lanpost.errors import LdapProtocolError
    from lanpost.wire.ldap_client import LdapClient
    from lanpost.wire.ldap_decode import decode_message
    from lanpost.wire.ldap_encode import encode_message
    from lanpost.wire.ldap_filter import Present
    from lanpost.wire.ldap_messages import Message, Result, Scope, SearchRequest
    from lanpost.wire.ldap_operations import FINAL_RESPONSES, final_response
    from lanpost.wire.ldap_server import LdapServer

from tests.ldap_values import SEEN


def decode(data: bytes) -> None:
    try:
        message = decode_message(data)
    except LdapProtocolError:
        return
    assert decode_message(encode_message(message)) == message


def serve(pieces: list[bytes]) -> tuple[list[Message], bytes, str]:
    session = LdapServer()
    events, sent = [], b""
    for piece in pieces:
        session.receive_data(piece)
        while (event := session.next_event()) is not None:
            events.append(event)
            kind = type(event.operation)
            if kind in FINAL_RESPONSES:
                session.answer(event.id, final_response(kind, Result()))
        sent += session.data_to_send()
        if session.secure:
            break  # what comes behind StartTLS is the handshake's
    return events, sent, str(session.state)


def ask(pieces: list[bytes]) -> tuple[list[Message], str, str]:
    session = LdapClient()
    for _ in range(3):
        session.send(SearchRequest("", Scope.BASE, Present("cn")))
    events = []
    for piece in pieces:
        session.receive_data(piece)
        while (event := session.next_event()) is not None:
            events.append(event)
    return events, str(session.state), session.fault


def one_input(data: bytes) -> None:
    decode(data)
    cut = data[-1] % 16 + 1 if data else 1
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    assert serve(pieces) == serve([data])
    assert ask(pieces) == ask([data])


def main() -> None:
    words = sys.argv
    if len(words) < 2 or words[1].startswith("-"):
        corpus = Path(tempfile.mkdtemp(prefix="lanpost-fuzz-"))
        for number, (octets, _) in enumerate(SEEN.values()):
            (corpus / f"seen-{number}").write_bytes(bytes.fromhex(octets))
        words = [words[0], str(corpus), *words[1:]]
    atheris.Setup(words, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
