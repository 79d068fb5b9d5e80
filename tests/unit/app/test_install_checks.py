"""What stands in the way of an installation, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lanpost.app.config import parse
from lanpost.app.install_checks import place_problems, port_problems
from lanpost.app.settings import Settings
from lanpost.model.role import Role
from lanpost.net.port_holders import Holder
from lanpost.store.installation import Installation
from lanpost.store.program_build import Room

EXIM = Holder(812, "exim4", ("/usr/sbin/exim4", "-bd"))
OURS = Holder(90, "lanpost", ("/usr/bin/python3", "-I", "/opt/lanpost/current/bin/lanpost", "serve"))
SYSTEMD = Holder(1, "systemd", ("/sbin/init",))


def found(roles: Sequence[Role], taken: dict[int, list[Holder]], settings: Settings | None = None) -> list[str]:
    return list(
        port_problems(
            settings or Settings(), roles, lambda _, port: port in taken, lambda port: taken.get(port, [])
        )
    )


def test_another_program_at_a_port_is_named_with_what_to_do() -> None:
    (told,) = found([Role.SERVE], {25: [EXIM]})
    assert told.startswith("port 25 is held by exim4 (pid 812): ")
    assert told.endswith("or set smtp.listen in /etc/lanpost/lanpost.toml")


def test_our_own_running_version_and_sockets_that_systemd_keeps_for_it_are_in_nobodys_way() -> None:
    ports = (25, 587, 110, 8025)
    assert found([Role.SERVE], {port: [OURS] for port in ports}) == []
    assert found([Role.SERVE], {port: [SYSTEMD, OURS] for port in ports}) == []
    assert found([Role.SERVE], {25: [SYSTEMD]}) == []


def test_a_holder_that_cannot_be_seen_is_told_of() -> None:
    (told,) = found([Role.SERVE], {110: []})
    assert told == "port 110 is held by a process that cannot be seen from here: end it, or set pop3.listen"


def test_each_role_has_its_own_ports() -> None:
    everywhere = {port: [EXIM] for port in (25, 110, 389, 587, 2525, 8025)}
    assert [line.split()[1] for line in found([Role.SERVE], everywhere)] == ["25", "587", "110", "8025"]
    assert [line.split()[1] for line in found([Role.DIRECTORY], everywhere)] == ["389", "8025"]
    assert found([Role.AGENT], everywhere) == []
    receives = parse('[agent]\nreceive = "inbox"\nport = 2525\n', Path("/x.toml"))
    assert [line.split()[1] for line in found([Role.AGENT], everywhere, receives)] == ["2525"]


def test_too_little_room_says_how_much_is_wanted(tmp_path: Path) -> None:
    (told,) = place_problems(Installation(tmp_path), Room(octets=10**18, files=1))
    assert "1000000000000 MB are needed and" in told


def test_a_place_where_a_file_lies_is_said(tmp_path: Path) -> None:
    (tmp_path / "opt").write_text("")
    assert list(place_problems(Installation(tmp_path), Room(1, 1))) == [
        f"{tmp_path}/opt is no folder: move it away"
    ]


@pytest.mark.parametrize("room", [Room(1, 1)])
def test_nothing_is_said_where_there_is_room(tmp_path: Path, room: Room) -> None:
    assert list(place_problems(Installation(tmp_path), room)) == []
