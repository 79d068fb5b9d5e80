"""Replies from the wire: the same however TCP cuts them, and bounded whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.model.reply import Reply
from lanpost.wire.smtp_replies import MAX_LINE, MAX_LINES, MAX_TEXT, ReplyReader


def read(*pieces: bytes) -> tuple[list[Reply], str]:
    reader = ReplyReader()
    replies = []
    for piece in pieces:
        reader.receive_data(piece)
        while (reply := reader.next_reply()) is not None:
            replies.append(reply)
    return replies, reader.fault


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"250 2.1.5 Ok", Reply(250, "2.1.5", "Ok")),
        (b"250 Ok", Reply(250, "2.0.0", "Ok")),
        (b"250", Reply(250, "2.0.0", "")),
        (b"250 ", Reply(250, "2.0.0", "")),
        (b"550 5.1.1", Reply(550, "5.1.1", "")),
        (b"550 5.1.1  two  spaces", Reply(550, "5.1.1", "two  spaces")),
        (b"550 4.1.1 wrong class", Reply(550, "5.0.0", "wrong class")),
        (b"354 End with .", Reply(354, "", "End with .")),
        (b"250 10.0.0.7 Hello", Reply(250, "2.0.0", "10.0.0.7 Hello")),
        (b"421 4.7.0 bye\x1b[31m\x00", Reply(421, "4.7.0", "bye?[31m?")),
        (b"250 2.0.0 \xff\xc3\xa9", Reply(250, "2.0.0", "\ufffd\u00e9")),
    ],
)
def test_one_line(line: bytes, reply: Reply) -> None:
    assert read(line + b"\r\n") == ([reply], "")
    assert read(line + b"\n") == ([reply], "")


def test_several_lines_are_one_reply() -> None:
    replies, fault = read(b"550-5.1.1 No such\r\n550-5.1.1\r\n550 5.1.1 user\r\n250 ok\r\n")
    assert replies == [Reply(550, "5.1.1", "No such\n\nuser"), Reply(250, "2.0.0", "ok")]
    assert not fault


def test_the_last_line_of_a_reply_that_contradicts_itself_counts() -> None:
    assert read(b"250-2.0.0 fine\r\n550 not at all\r\n")[0] == [Reply(550, "5.0.0", "fine\nnot at all")]


def test_a_status_that_only_the_second_line_gives_is_kept() -> None:
    assert read(b"450-wait\r\n450 4.2.1 please\r\n")[0][0].status == "4.2.1"


@pytest.mark.parametrize(
    "garbage",
    [b"\r\n", b"ok\r\n", b"25 ok\r\n", b"2500 ok\r\n", b"250ok\r\n", b"199 x\r\n", b"650 x\r\n", b"\x16\x03\r\n"],
)
def test_garbage_is_a_fault_and_the_end(garbage: bytes) -> None:
    replies, fault = read(b"250 before\r\n" + garbage + b"250 after\r\n")
    assert [reply.text for reply in replies] == ["before"]
    assert "no SMTP reply" in fault


def test_endless_lines_and_endless_replies_are_faults() -> None:
    assert "longer than" in read(b"250 " + b"x" * MAX_LINE)[1]
    assert "longer than" in read(b"250 " + b"x" * MAX_LINE + b"\r\n")[1]
    assert "longer than" in read(*[b"2"] * (MAX_LINE + 1))[1]
    assert "lines" in read(b"250-x\r\n" * (MAX_LINES + 1))[1]


def test_text_is_bounded() -> None:
    assert len(read((b"550-" + b"x" * 1000 + b"\r\n") * 20 + b"550 end\r\n")[0][0].text) == MAX_TEXT


def test_pending_tells_of_what_came_beyond_the_last_reply() -> None:
    reader = ReplyReader()
    reader.receive_data(b"250 ok\r\n2")
    assert reader.next_reply() is not None
    assert reader.has_pending
    reader.receive_data(b"50-go")
    reader.receive_data(b" on\r\n")
    assert reader.next_reply() is None
    assert reader.has_pending
    reader.receive_data(b"250 end\r\n")
    assert reader.next_reply() == Reply(250, "2.0.0", "go on\nend")
    assert not reader.has_pending


_text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=20)
_replies = st.lists(st.tuples(st.sampled_from([220, 250, 354, 421, 550]), st.lists(_text, min_size=1, max_size=3)))


@given(_replies, st.data())
def test_any_cut_gives_the_same_replies(script: list[tuple[int, list[str]]], data: st.DataObject) -> None:
    stream = b"".join(
        "".join(f"{code}{' ' if n == len(lines) - 1 else '-'}{line}\r\n" for n, line in enumerate(lines)).encode()
        for code, lines in script
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*pieces) == read(stream)
    assert [reply.code for reply in read(stream)[0]] == [code for code, _ in script]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_replies_or_a_fault(pieces: list[bytes]) -> None:
    assert read(*pieces) == read(b"".join(pieces))
