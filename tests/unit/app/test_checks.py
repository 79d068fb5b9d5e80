from __future__ import annotations

from pathlib import Path

import pytest

from lanpost.app.checks import problems
from lanpost.app.config import parse


def found(tmp_path: Path, text: str) -> list[str]:
    return list(problems(parse(text, tmp_path / "lanpost.toml")))


def test_the_defaults_have_no_problem(tmp_path: Path) -> None:
    assert found(tmp_path, 'data = "state"') == []


@pytest.mark.parametrize(
    "text",
    [
        '[relay]\nnetworks = ["0.0.0.0/0"]\nsmarthost = "192.0.2.1:25"',
        '[relay]\nnetworks = ["0.0.0.0/1", "128.0.0.0/1"]\nsmarthost = "192.0.2.1:25"',
        '[relay]\nnetworks = ["::/0"]\nsmarthost = "192.0.2.1:25"',
        '[relay]\nnetworks = ["2000::/3"]',
    ],
)
def test_an_open_relay_is_not_let_pass(tmp_path: Path, text: str) -> None:
    assert any("open relay" in problem for problem in found(tmp_path, f'data = "state"\n{text}'))


@pytest.mark.parametrize(
    "network", ["10.0.0.0/8", "192.168.1.0/24", "203.0.113.0/24", "fd00::/8", "2001:db8:7::/48"]
)
def test_a_site_s_own_networks_may_relay(tmp_path: Path, network: str) -> None:
    assert found(tmp_path, f'data = "state"\n[relay]\nnetworks = ["{network}"]\nsmarthost = "192.0.2.1:25"') == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[registrar]\npolicy = "claim"\nnetworks = ["0.0.0.0/0"]', "registrar.networks"),
        ('[authentication]\nnetworks_without_tls = ["0.0.0.0/0"]', "authentication.networks_without_tls"),
        ('[ldap]\nnetworks_without_delay = ["0.0.0.0/0"]', "ldap.networks_without_delay"),
        ('[smtp]\nlisten = ["127.0.0.1:2525"]\n[relay]\nsmarthost = "127.0.0.1:2525"', "relay.smarthost"),
        ('[smtp]\nlisten = ["0.0.0.0:2525"]\n[pop3]\nlisten = ["127.0.0.1:2525"]', "pop3.listen"),
        ('[fallback]\nmailbox = "a b"', "fallback.mailbox"),
    ],
)
def test_settings_that_contradict_each_other_are_named(tmp_path: Path, text: str, key: str) -> None:
    assert any(key in problem for problem in found(tmp_path, f'data = "state"\n{text}'))


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert any("no folder" in problem for problem in found(tmp_path, 'data = "state"'))
