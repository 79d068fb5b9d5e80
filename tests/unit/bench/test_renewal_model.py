"""Agents that all boot in one moment get in, without a storm and without starving one of them."""

from __future__ import annotations

import pytest
from bench import renewal_model

COUNT = 4000


@pytest.mark.parametrize("rate", [40.0, 400.0, 4000.0])
def test_all_get_in_in_little_more_than_the_time_the_server_needs(
    rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal_model, "PLACES", 40)
    seconds, attempts, most = renewal_model.simulate(rate, COUNT)
    least = COUNT / rate
    assert least <= seconds <= 2.5 * least + 15
    assert attempts <= COUNT * 12
    assert most <= 40
