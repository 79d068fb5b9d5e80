"""The lab, one for each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.network import Lab, require


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    require()
    with Lab(tmp_path) as network:
        yield network
