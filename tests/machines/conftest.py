"""A LAN for whole machines, and one machine on it, for each test that asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.machines.machine import Machine, MachineLan, require


@pytest.fixture
def machine_lan(tmp_path: Path) -> Iterator[MachineLan]:
    require()
    with MachineLan(tmp_path / "machines") as lan:
        yield lan


@pytest.fixture
def machine(machine_lan: MachineLan) -> Machine:
    """One that nothing was done to yet."""
    return machine_lan.boot("host")
