"""From one version to another with services that come up, or do not: what runs in the end, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lanpost.app.settings import Agent, Settings
from lanpost.app.switching import back_to, prove, switch
from lanpost.errors import ServiceFailed
from lanpost.model.role import Role
from lanpost.store.installation import RECORD, Installation


class HereAndNow:
    """Services that are up once they are started, unless the version in force is a broken one."""

    name = "the test"

    def __init__(self, there: Installation, roles: Sequence[Role], broken: str = "") -> None:
        self._there = there
        self._roles = list(roles)
        self._broken = broken
        self.disabled: set[Role] = set()
        self.started: list[tuple[Role, str | None]] = []

    def roles(self) -> list[Role]:
        return self._roles

    def start_command(self, role: Role) -> str:
        return f"start {role}"

    def put(self, roles: Sequence[Role], version: Path) -> None:
        pass

    def is_wanted(self, role: Role) -> bool:
        return role not in self.disabled

    def restart(self, role: Role) -> None:
        if self._there.current() == self._broken:
            raise ServiceFailed(f"{role} does not come up", "one line\nand another")
        self.started.append((role, self._there.current()))

    def remove(self, roles: Sequence[Role]) -> None:
        pass


@pytest.fixture
def there(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def go(there: Installation, services: HereAndNow, version: str, settings: Settings | None = None) -> list[str]:
    before = there.current()
    there.folder(version).mkdir(parents=True, exist_ok=True)
    (there.folder(version) / RECORD).touch()
    switch(there, services, version, services.roles(), lambda _: None)

    def go_back() -> str | None:
        if before:
            back_to(there, services, before)
        return before

    return prove(there, services, services.roles(), settings or Settings(), lambda _: None, go_back)


def test_a_version_that_comes_up_stays(there: Installation) -> None:
    services = HereAndNow(there, [Role.SERVE])
    go(there, services, "1.0")
    assert (there.current(), there.previous(), there.unproven()) == ("1.0", None, None)
    go(there, services, "2.0")
    assert (there.current(), there.previous(), there.unproven()) == ("2.0", "1.0", None)
    assert services.started == [(Role.SERVE, "1.0"), (Role.SERVE, "2.0")]


def test_a_version_that_does_not_come_up_goes_and_the_one_before_runs(there: Installation) -> None:
    services = HereAndNow(there, [Role.SERVE], broken="2.0")
    go(there, services, "1.0")
    with pytest.raises(
        ServiceFailed,
        match=r"serve does not come up; its last words:\n  one line\n  and another\n"
        r"Gone back to 1\.0, which runs again",
    ):
        go(there, services, "2.0")
    assert services.started == [(Role.SERVE, "1.0"), (Role.SERVE, "1.0")]
    assert (there.current(), there.previous(), there.unproven()) == ("1.0", None, None)
    assert there.versions() == ["1.0"]


def test_a_first_version_that_does_not_come_up_stays_to_be_looked_at(there: Installation) -> None:
    with pytest.raises(ServiceFailed, match="It stays installed; when that is mended, start it again"):
        go(there, HereAndNow(there, [Role.SERVE], broken="2.0"), "2.0")
    assert there.current() == "2.0"


def test_an_agent_that_knows_no_server_is_not_started_and_one_is_told_what_to_do(
    there: Installation, tmp_path: Path
) -> None:
    services = HereAndNow(there, [Role.AGENT])
    settings = Settings(data=tmp_path / "data")
    (told,) = go(there, services, "1.0", settings)
    assert "run `lanpost terminal add ADDRESS` at the server" in told
    assert told.endswith("then `start agent`")
    assert services.started == []
    assert go(there, services, "1.0", replace(settings, agent=Agent(name="fax1"))) == []
    assert services.started == [(Role.AGENT, "1.0")]


def test_a_service_that_was_disabled_is_not_started_and_one_is_told(there: Installation) -> None:
    services = HereAndNow(there, [Role.SERVE, Role.DIRECTORY], broken="2.0")
    services.disabled.add(Role.DIRECTORY)
    assert go(there, services, "1.0") == [
        "the service for directory was disabled, and stays so; `start directory` starts it"
    ]
    with pytest.raises(ServiceFailed, match=r"Gone back to 1\.0, which runs again"):
        go(there, services, "2.0")
    assert services.started == [(Role.SERVE, "1.0"), (Role.SERVE, "1.0")]
