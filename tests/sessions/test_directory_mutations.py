"""What a damaged client sends over a real connection does no harm: hundreds of them, the same each time.

`fuzz/ldap_live.py` does it to a server of its own for as long as somebody likes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.directory_running import ADMIN, BASE, PASSWORD, Running, address, running_directory
from tests.ldap_mutations import Attacks, dialogues
from tests.mail_servers import wait_until

from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint
from lanpost.wire.ldap_filter import Equals
from lanpost.wire.ldap_messages import Scope, SearchRequest

ATTACKS = 600
KEPT = 30  # connections that stay open
HONEST = SearchRequest(BASE, Scope.SUBTREE, Equals("mailLocalAddress", b"honest@office.lan"), ("mailHost",))


def tasks(running: Running) -> int:
    return len(running.call(asyncio.all_tasks))


def objects_of(kind: str) -> int:
    gc.collect()
    return sum(type(each).__name__ == kind for each in gc.get_objects())


def eventually(done: Callable[[], bool], what: str) -> None:
    wait_until(done, what, lambda: "")


@pytest.mark.parametrize("seed", [1, 2])
def test_an_honest_client_is_served_on_and_nothing_is_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    told = dialogues(BASE, ADMIN, PASSWORD.decode())
    attacks = Attacks(told, seed)
    kept = []
    with capture_logs() as events, running_directory(tmp_path) as running, running.client() as honest:
        for name in ("honest", "fuzz1", "fuzz3", "fuzz4"):
            running.run(running.chart.bind(Binding(address(name), Endpoint("10.0.6.9"), datetime.now(UTC))))
        assert honest.names(HONEST) == ([f"cn=honest,{BASE}"], 0)
        before = tasks(running)
        for number in range(ATTACKS):
            stays = attacks.make().carry_out(running.port)
            if stays is not None:
                kept.append(stays)
            if len(kept) > KEPT:
                kept.pop(0).close()
            if number % 20 == 0:
                assert honest.names(HONEST) == ([f"cn=honest,{BASE}"], 0), f"after {number}"
        while kept:
            kept.pop().close()
        eventually(lambda: running.listener.count == 1, "their connections to be closed")
        eventually(lambda: not running.service.tasks and tasks(running) <= before, "their operations to be over")
        eventually(lambda: objects_of("LdapConnection") == 1, "the memory of them to be let go")
        assert honest.names(HONEST) == ([f"cn=honest,{BASE}"], 0)
    assert [each for each in events if each["log_level"] == "error"] == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
