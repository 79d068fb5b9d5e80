"""What the tests of the whole program share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.terminals import Terminals


@pytest.fixture
def terminals() -> Iterator[Terminals]:
    with Terminals() as running:
        yield running
