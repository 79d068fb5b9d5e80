"""Which of its addresses a terminal may register from."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lanpost.net import registrar_access
from lanpost.net.registrar_access import is_lasting

LASTING, TEMPORARY = "fd78::aff:fe4d:3", "fd78::e450:8727:3239:ec2b"
OWN = """\
fe8000000000000000000afffe4d0003 02 40 20 80     lan0
fd7800000000000000000afffe4d0003 02 40 00 00     lan0
fd78000000000000e45087273239ec2b 02 40 00 01     lan0
"""


class Connected(socket.socket):
    """A socket that says it is connected from one address to another."""

    own: tuple[str, int]
    peer: tuple[str, int]

    def getsockname(self) -> tuple[str, int]:
        return self.own

    def getpeername(self) -> tuple[str, int]:
        return self.peer


@pytest.mark.parametrize(
    ("own", "peer", "expected"),
    [
        (LASTING, "fd77::1", True),
        (TEMPORARY, "fd77::1", False),
        ("fe80::aff:fe4d:3%lan0", "fd77::1", False),
        ("fe80::aff:fe4d:3%lan0", "fe80::1%lan0", True),
        ("::1", "::1", True),
        ("10.0.0.7", "10.0.0.1", True),
    ],
)
def test_a_temporary_address_or_one_of_the_link_alone_is_none(
    own: str, peer: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "if_inet6").write_text(OWN)
    monkeypatch.setattr(registrar_access, "OWN_ADDRESSES", tmp_path / "if_inet6")
    with Connected() as sock:
        sock.own, sock.peer = (own, 40000), (peer, 443)
        assert is_lasting(sock) is expected


def test_where_the_system_does_not_tell_every_address_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrar_access, "OWN_ADDRESSES", tmp_path / "missing")
    with Connected() as sock:
        sock.own, sock.peer = (TEMPORARY, 40000), ("fd77::1", 443)
        assert is_lasting(sock)
