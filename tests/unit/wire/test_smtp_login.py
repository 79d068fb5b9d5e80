from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.model.reply import Reply
from lanpost.wire.smtp_login import Credentials, LoginDialogue


def encoded(text: str) -> bytes:
    return base64.b64encode(text.encode())


def talk(*lines: bytes) -> list[str]:
    """What becomes of each line: the code of a reply, or login and password."""
    dialogue = LoginDialogue()
    said = [dialogue.take(line) for line in lines]
    return [f"{one.login}:{one.password}" if isinstance(one, Credentials) else str(one)[:9].strip() for one in said]


def test_plain() -> None:
    assert talk(b"PLAIN " + encoded("\0anna\0secret")) == ["anna:secret"]
    assert talk(b"plain", encoded("anna\0anna\0sécret")) == ["334", "anna:sécret"]


def test_login() -> None:
    assert talk(b"LOGIN", encoded("anna"), encoded("a secret ")) == ["334 VXNlc", "334 UGFzc", "anna:a secret "]
    assert talk(b"LOGIN " + encoded("anna"), encoded("secret")) == ["334 UGFzc", "anna:secret"]


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        ((b"",), "504 5.5.4"),
        ((b"CRAM-MD5",), "504 5.5.4"),
        ((b"PLAIN", b"*"), "501 5.7.0"),
        ((b"LOGIN", encoded("anna"), b"*"), "501 5.7.0"),
        ((b"PLAIN", b"not base64!"), "501 5.5.2"),
        ((b"PLAIN =",), "501 5.5.2"),
        ((b"PLAIN", encoded("anna")), "501 5.5.2"),
        ((b"PLAIN", encoded("\0anna\0")), "501 5.5.2"),
        ((b"PLAIN", encoded("boss\0anna\0secret")), "535 5.7.8"),
        ((b"LOGIN", b""), "501 5.5.2"),
    ],
)
def test_refusals(lines: tuple[bytes, ...], reply: str) -> None:
    assert talk(*lines)[-1] == reply


def test_a_password_is_in_no_repr() -> None:
    assert "secret" not in repr(Credentials("anna", "secret"))


@given(
    st.sampled_from([b"PLAIN", b"LOGIN", b"PLAIN =", b"LOGIN AAAA"]), st.lists(st.binary(max_size=40), max_size=3)
)
def test_no_line_raises(argument: bytes, lines: list[bytes]) -> None:
    dialogue = LoginDialogue()
    said = dialogue.take(argument)
    for line in lines:
        if not (isinstance(said, Reply) and said.code == 334):
            break
        said = dialogue.take(line)
