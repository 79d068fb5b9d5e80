"""What a directory tells mail servers of its chart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lanpost.app.config import parse
from lanpost.content.chart_offer import ChartOffer, read_offer, usable
from lanpost.errors import InvalidValue

OFFER = ChartOffer("office.lan", "ou=chart,dc=office,dc=lan", (("10.0.0.5", 389), ("fd00::5", 636)), "PEM\n", True)


def test_what_is_told_is_read() -> None:
    assert read_offer(json.dumps(OFFER.to_json())) == OFFER


def test_the_configuration_is_one() -> None:
    settings = parse(OFFER.configuration(1), Path("lanpost.toml"))
    assert settings.chart.url == "ldaps://[fd00::5]:636/ou=chart,dc=office,dc=lan"
    assert settings.domain == "office.lan"
    assert not settings.discovery.advertise


@pytest.mark.parametrize(
    "change",
    [{"places": []}, {"places": [["post.lan", 389]]}, {"places": [["10.0.0.5", 0]]}, {"ca": None}, {"domain": ""}],
)
def test_what_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        read_offer(json.dumps({**OFFER.to_json(), **change}))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_neither_is_what_is_no_json_of_ours(text: str) -> None:
    with pytest.raises(InvalidValue):
        read_offer(text)


def test_addresses_that_only_this_machine_understands_are_left_out() -> None:
    assert usable(["127.0.0.1", "10.0.0.5", "fe80::1%eth0", "::1", "fd00::5"]) == ["10.0.0.5", "fd00::5"]
