"""Which listening sockets are used again, which are made, and which are closed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from lanpost.errors import ConfigurationError
from lanpost.net.listening_sockets import FIRST_FD, HANDED_ON, ListeningSockets, hand_on, handed_sockets


@dataclass(frozen=True)
class At:
    host: str = "127.0.0.1"
    port: int = 0


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def opened(
    stack: ExitStack,
    services: Mapping[str, tuple[At, ...]],
    before: ListeningSockets | None = None,
    processes: int = 1,
) -> ListeningSockets:
    """As a process opens them that was handed all of the process before."""
    handed = {name: sock.dup() for name, sock in before.named.items()} if before else {}
    sockets = ListeningSockets.open(services, handed, processes=processes, alone=("http",))
    stack.callback(sockets.close)
    return sockets


def port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def test_what_was_handed_is_used_again(stack: ExitStack) -> None:
    services = {"smtp": (At(), At("::1")), "http": (At(),)}
    first = opened(stack, services)
    second = opened(stack, services, first)
    for service in services:
        assert [*map(port, second.of(service))] == [*map(port, first.of(service))]
    assert second.dropped == ()


def test_a_service_that_is_gone_is_closed_and_one_that_is_new_is_opened(stack: ExitStack) -> None:
    first = opened(stack, {"smtp": (At(),), "pop3": (At(),)})
    second = opened(stack, {"smtp": (At(),), "ldap": (At(),)}, first)
    assert second.dropped == ("pop3-127.0.0.1-0-0",)
    assert len(second.of("ldap")) == 1
    assert second.of("pop3") == []


def test_each_process_has_its_own_at_the_same_port_and_the_first_alone_some(stack: ExitStack) -> None:
    sockets = opened(stack, {"smtp": (At(),), "http": (At(),)}, processes=3)
    assert len({port(sock) for number in range(3) for sock in sockets.of("smtp", number)}) == 1
    assert [len(sockets.of_process(number)) for number in range(3)] == [2, 1, 1]
    assert [len(sockets.of("http", number)) for number in range(3)] == [1, 0, 0]


def test_fewer_processes_serve_all_that_there_are(stack: ExitStack) -> None:
    three = opened(stack, {"smtp": (At(),)}, processes=3)
    two = opened(stack, {"smtp": (At(),)}, three, processes=2)
    assert [len(two.of("smtp", number)) for number in range(2)] == [2, 1]


def test_more_processes_join_at_a_port_that_was_of_one_alone(stack: ExitStack) -> None:
    one = opened(stack, {"smtp": (At(),)})
    two = opened(stack, {"smtp": (At(),)}, one, processes=2)
    assert {port(sock) for sock in two.of("smtp")} == {port(one.of("smtp")[0])}
    assert len(two.of("smtp", 1)) == 1


def test_a_strangers_port_is_refused_though_it_is_shared_too(stack: ExitStack) -> None:
    stranger = stack.enter_context(socket.socket())
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    stranger.bind(("127.0.0.1", 0))
    with pytest.raises(
        ConfigurationError, match=rf"\[smtp\] listen: cannot listen on 127\.0\.0\.1:{port(stranger)}"
    ):
        opened(stack, {"smtp": (At(port=port(stranger)),)}, processes=2)


def test_sockets_are_found_by_the_variables_that_name_them_and_those_are_gone_then(stack: ExitStack) -> None:
    sockets = opened(stack, {"smtp": (At("::1"),), "http": (At(),)})
    environment: dict[str, str] = {}
    given = [os.dup(descriptor) for descriptor in hand_on(sockets.named, environment)]
    environment["LANPOST_SOCKETS"] = str(dict(zip(sockets.named, given, strict=True))).replace("'", '"')
    found = handed_sockets(environment)
    assert environment == {}
    assert {name: port(sock) for name, sock in found.items()} == {
        name: port(sock) for name, sock in sockets.named.items()
    }
    for sock in found.values():
        assert not sock.get_inheritable()
        sock.close()


def test_what_is_no_socket_is_left_alone(stack: ExitStack) -> None:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    stack.callback(os.close, writing)
    assert handed_sockets({HANDED_ON: f'{{"smtp-0.0.0.0-25-0": {reading}}}'}) == {}
    os.write(writing, b"still open")


def test_what_systemd_passed_to_another_process_is_not_ours() -> None:
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDNAMES": "smtp-0.0.0.0-25-0"}
    os.fstat(FIRST_FD)  # the test runner has one there: it must not be touched
    assert handed_sockets(environment) == {}
    assert environment == {}
