"""The pushing side of `lanpost push`, fed with what a first stage, a login shell or nobody sane would say."""

from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import LocalProtocolError
from lanpost.wire.push import (
    BOOTSTRAP,
    MARK,
    MAX_LINE,
    MAX_NOISE,
    Event,
    Failed,
    File,
    Got,
    Installed,
    Installing,
    Line,
    Machine,
    Plan,
    PushSession,
    Ready,
    Request,
    State,
)

REQUEST = Request("00" * 32, 1000, "1.0", reach=[("10.0.0.5", 389)], files=["/etc/lanpost/lanpost.toml"])
MACHINE = {
    "event": "machine",
    "python": [3, 11, 2],
    "executable": "/usr/bin/python3",
    "machine": "x86_64",
    "bits": 64,
    "libc": ["glibc", "2.36"],
    "system": "Linux",
    "uid": 0,
}
PLAN = {
    "event": "plan",
    "at_hand": False,
    "offset": 300,
    "part": "11" * 32,
    "free": 10**9,
    "place": "/opt/lanpost",
    "current": "0.9",
    "reached": 0,
    "files": [None],
}
GOING = [{"event": "got", "octets": 600}, {"event": "installing"}, {"event": "line", "text": "step"}]
WHOLE = [{}, MACHINE, PLAN, *GOING, {"event": "installed", "status": 0, "current": "1.0"}]


def said(*words: object) -> bytes:
    return b"".join(MARK + json.dumps(word).encode() + b"\n" for word in words)


def played(session: PushSession, data: bytes, cut: int) -> list[Event]:
    """Feed `cut` bytes at a time; answer as `lanpost push` does."""
    events: list[Event] = []
    for start in range(0, len(data), cut):
        session.receive_data(data[start : start + cut])
        while (event := session.next_event()) is not None:
            events.append(event)
            if isinstance(event, Ready):
                session.request("def main(stream): pass", REQUEST)
            if isinstance(event, Plan):
                session.go(300, [File("/etc/x", "text")], ["--role", "serve"])
    return events


@pytest.mark.parametrize("cut", [1, 7, 100_000])
@pytest.mark.parametrize("noise", [b"", b"Welcome!\n", b"Welcome!\r\nno line end "])
def test_outcome_depends_neither_on_the_cut_nor_on_what_a_login_shell_says(cut: int, noise: bytes) -> None:
    session = PushSession()
    events = played(session, noise + said(*WHOLE), cut)
    assert [type(event) for event in events] == [Ready, Machine, Plan, Got, Installing, Line, Installed]
    assert events[1] == Machine((3, 11, 2), "/usr/bin/python3", "x86_64", 64, ("glibc", "2.36"), "Linux", 0)
    assert isinstance(events[2], Plan)
    assert (events[2].offset, events[2].current, events[2].files) == (300, "0.9", (None,))
    assert events[-1] == Installed(0, "1.0")
    assert session.state is State.CLOSED


def test_what_is_sent_is_the_first_stage_then_json_line_by_line() -> None:
    session = PushSession()
    played(session, said(*WHOLE[:3]), 1000)
    source, request, go = session.data_to_send().splitlines()
    assert ast.literal_eval(source.decode()).startswith("def main(stream): pass\nmain(")
    assert json.loads(request)["sha256"] == REQUEST.sha256
    assert json.loads(go)["files"] == [{"path": "/etc/x", "text": "text"}]
    assert session.data_to_send() == b""


def test_bootstrap_is_what_every_shell_leaves_alone_between_single_quotes() -> None:
    assert not set(BOOTSTRAP) & set("'\\!\n")
    compile(BOOTSTRAP, "bootstrap", "exec")


@pytest.mark.parametrize(
    "words",
    [
        [{}, {}],
        [{}, PLAN],
        [{}, MACHINE, MACHINE],
        [{}, MACHINE, {"event": "got", "octets": 1}],
        [{}, MACHINE, PLAN, {"event": "installed", "status": 0, "current": None}],
        [{}, {"event": "nonsense"}],
        [{}, []],
        [{}, 17],
        [{}, {**MACHINE, "uid": "root"}],
        [{}, {**MACHINE, "python": 3}],
        [{}, {"event": "machine"}],
        [{}, MACHINE, {**PLAN, "files": None}],
        [MACHINE],
    ],
)
def test_what_is_out_of_order_or_no_word_of_ours_ends_it(words: list[object]) -> None:
    session = PushSession()
    events = played(session, said(*words), 1000)
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "protocol"
    assert session.state is State.CLOSED
    session.receive_data(said(*WHOLE))
    assert session.next_event() is None


def test_a_failure_there_is_an_event() -> None:
    session = PushSession()
    events = played(session, said({}, MACHINE, PLAN, {"event": "failed", "kind": "full", "text": "no room"}), 1000)
    assert events[-1] == Failed("full", "no room")


def test_a_shell_that_never_ends_is_given_up() -> None:
    session = PushSession()
    session.receive_data(b"y\n" * (MAX_NOISE // 2 + 1))
    assert isinstance(session.next_event(), Failed)
    session = PushSession()
    session.receive_data(b"y" * (MAX_LINE + 1))
    assert isinstance(session.next_event(), Failed)


def test_noise_is_kept_for_the_error_that_it_may_explain() -> None:
    session = PushSession()
    session.receive_data(b"This account is\nnot available")
    assert session.next_event() is None
    assert session.noise == "This account is\nnot available"


def test_nothing_that_is_said_there_is_a_command_to_the_terminal_here() -> None:
    session = PushSession()
    session.receive_data(b"\x1b]0;owned\x07Welcome\n")
    ended = {"event": "failed", "kind": "full", "text": "\x1b[2Jno room für\u009b"}
    events = played(session, said({}, MACHINE, ended), 1000)
    assert events[-1] == Failed("full", " [2Jno room für ")
    assert session.noise.isprintable()


def test_our_own_calls_out_of_order_are_bugs() -> None:
    session = PushSession()
    with pytest.raises(LocalProtocolError):
        session.request("", REQUEST)
    with pytest.raises(LocalProtocolError):
        session.go(0, [], [])


@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from([said(word) for word in WHOLE]))))
def test_no_input_raises(pieces: list[bytes]) -> None:
    session = PushSession()
    for event in played(session, b"".join(pieces), 50):
        assert event is not None
