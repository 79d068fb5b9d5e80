from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.wire.data_scanner import DataScanner

LAX_END = re.compile(
    rb"(?<!\r)\n\.|\r\.|\r\n\.\n|\r\n\.\r(?!\n)"
)  # what some server takes for the end, bar the real one
TRICKY = st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n."]), max_size=30).map(b"".join)
CUTS = st.integers(1, 3).map(lambda step: [step] * 100) | st.lists(st.integers(1, 7), max_size=40)


def cut(data: bytes, lengths: list[int]) -> list[bytes]:
    pieces = []
    for length in lengths:
        piece, data = data[:length], data[length:]
        pieces.append(piece)
    return [piece for piece in [*pieces, data] if piece]


def scan(pieces: list[bytes]) -> tuple[bytes, bytes | None, DataScanner]:
    """Content, what stands behind its end (None: there was none), and the scanner."""
    scanner = DataScanner()
    content = b""
    for index, piece in enumerate(pieces):
        content += scanner.feed(piece)
        if scanner.end >= 0:
            return content, piece[scanner.end :] + b"".join(pieces[index + 1 :]), scanner
    return content, None, scanner


@given(TRICKY, CUTS)
def test_any_cut_finds_the_same_end_content_and_tricks(body: bytes, lengths: list[int]) -> None:
    stream = body + b"\r\n.\r\nQUIT\r\n"
    end = (b"\r\n" + stream).find(b"\r\n.\r\n")
    content, rest, scanner = scan(cut(stream, lengths))
    assert content == stream[:end]
    assert rest == stream[end + 3 :]
    assert scanner.smuggles == bool(LAX_END.search(b"\r\n" + content))
    assert scanner.size == len(content) - (b"\r\n" + content).count(b"\r\n.")


@given(TRICKY, CUTS)
def test_what_is_given_out_never_holds_an_end(body: bytes, lengths: list[int]) -> None:
    content, rest, _ = scan(cut(body, lengths))
    assert b"\r\n.\r\n" not in b"\r\n" + content
    if rest is None:
        assert body.startswith(content)
        assert len(body) - len(content) <= 4


@given(TRICKY, CUTS)
def test_chunks_become_dot_stuffed_lines_that_end_with_crlf(body: bytes, lengths: list[int]) -> None:
    scanner = DataScanner()
    content = b"".join(scanner.feed_chunk(piece) for piece in cut(body, lengths)) + scanner.finish_chunks()
    whole = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    assert (b"\r\n" + content).replace(b"\r\n..", b"\r\n.") == b"\r\n" + whole
    assert b"\r\n.\r\n" not in b"\r\n" + content
    assert scanner.size == len(whole)
    # Sent on by DATA, it is taken as one mail, or it was refused here.
    again, rest, second = scan([content + b".\r\n"])
    assert (again, rest, second.smuggles) == (content, b"", scanner.smuggles)


SMUGGLED = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r.\r",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\n.\r\r\n",
    b"\n.x",
]


@pytest.mark.parametrize("trick", SMUGGLED)
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_every_known_way_to_smuggle_is_seen(trick: bytes, step: int) -> None:
    stream = b"first" + trick + b"MAIL FROM:<x>\r\n.\r\n"
    content, rest, scanner = scan([stream[at : at + step] for at in range(0, len(stream), step)])
    assert scanner.smuggles
    assert content == stream[:-3]
    assert rest == b""


@pytest.mark.parametrize(
    "harmless", [b"a\nb", b"a\rb", b"a.\nb", b"a.\rb", b"a\r\n..\r\nb", b"a\r\n.b\r\n..\n", b"\0"]
)
def test_other_bare_line_ends_pass_unchanged(harmless: bytes) -> None:
    content, rest, scanner = scan([harmless + b"\r\n.\r\n"])
    assert (content, rest, scanner.smuggles) == (harmless + b"\r\n", b"", False)


def test_an_empty_mail_ends_at_once() -> None:
    content, rest, scanner = scan([b".\r\nRSET\r\n"])
    assert (content, rest, scanner.size) == (b"", b"RSET\r\n", 0)


@pytest.mark.parametrize("first", [b".\n", b".\rx"])
def test_a_dot_at_the_very_start_is_watched_too(first: bytes) -> None:
    assert scan([first + b"\r\n.\r\n"])[2].smuggles


def test_every_short_mail_cut_in_every_even_way() -> None:
    for letters in itertools.chain.from_iterable(itertools.product(b"\r\n.x", repeat=n) for n in range(7)):
        body = bytes(letters)
        stream = body + b"\r\n.\r\nQ"
        end = (b"\r\n" + stream).find(b"\r\n.\r\n")
        wanted = stream[:end], stream[end + 3 :], bool(LAX_END.search(b"\r\n" + stream[:end]))
        for step in (1, 2, 3, 4, len(stream)):
            content, rest, scanner = scan([stream[at : at + step] for at in range(0, len(stream), step)])
            assert (content, rest, scanner.smuggles) == wanted, (body, step)
