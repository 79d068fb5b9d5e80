"""Who listens at a port: asked of this very process."""

from __future__ import annotations

import os
import socket

import pytest

from lanpost.net.port_holders import holders, is_taken


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_listener_is_found_with_its_process(family: int, host: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        port = listener.getsockname()[1]
        assert holders(port) == [], "bound, but nobody listens"
        listener.listen()
        assert is_taken(host, port)
        (holder,) = [each for each in holders(port) if each.pid == os.getpid()]
        assert any("python" in word or "pytest" in word for word in holder.command)
    assert not is_taken(host, port)
    assert holders(port) == []


def test_a_listener_at_one_address_keeps_us_from_all_of_them() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert is_taken("0.0.0.0", port)
        assert not is_taken("127.0.0.2", port)


def test_a_connection_that_has_ended_holds_no_port() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server does
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            accepted.close()  # the side that closes first is left in TIME-WAIT
    assert not is_taken("127.0.0.1", port)


def test_an_address_that_is_not_here_is_not_taken() -> None:
    assert not is_taken("192.0.2.1", 25)
