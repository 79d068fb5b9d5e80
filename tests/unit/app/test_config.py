from __future__ import annotations

from pathlib import Path

import pytest

from lanpost.app.config import load, parse
from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError

FILE = Path("/etc/lanpost/lanpost.toml")
CONTRACT = """
domain = "office.lan"
data = "/var/lib/lanpost"
workers = "auto"
[smtp]
listen = ["0.0.0.0:25"]
[submission]
listen = ["0.0.0.0:587"]
[pop3]
listen = ["0.0.0.0:110"]
[ldap]
listen = []
suffix = ""
admin_password_file = ""
anonymous = "read"
[http]
listen = ["0.0.0.0:8025"]
[chart]
url = "sqlite:chart.sqlite3"
bind_dn = ""
[registrar]
policy = "enrolled"
networks = ["10.0.0.0/8"]
lifetime = "24h"
[delivery]
cut_through = true
cut_through_timeout = "5s"
endpoint_ports = [25]
[relay]
networks = ["127.0.0.0/8"]
smarthost = ""
[fallback]
mailbox = ""
[agent]
port = 25
receive = ""
"""


def test_the_contract_s_file_is_understood_and_says_the_defaults() -> None:
    settings = parse(CONTRACT, FILE)
    defaults = Settings()
    assert settings.smtp == defaults.smtp
    assert settings.delivery == defaults.delivery
    assert settings.ldap == defaults.ldap
    assert settings.chart == defaults.chart
    assert settings.relay == defaults.relay
    assert settings.agent == defaults.agent
    assert settings.registrar.lifetime == 86400
    assert settings.data == Path("/var/lib/lanpost")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[smtp]\nlisen = []", ["smtp.lisen", "did you mean smtp.listen?"]),
        ('[smtp]\nlisten = "x"', ["smtp.listen = 'x'", "brackets"]),
        ('[smtp]\nlisten = ["localhost:25"]', ["localhost:25", "IP address"]),
        ("domain = 3", ["domain = 3", "quotes"]),
        ("[delivery]\ncut_through_timeout = 5", ["delivery.cut_through_timeout = 5", '"5s"']),
        ('[delivery]\ncut_through = "yes"', ["delivery.cut_through", "true or false"]),
        ("[delivery]\nendpoint_ports = [0]", ["endpoint_ports", "1 to 65535"]),
        ('[relay]\nnetworks = ["10.0.0.1/8"]', ["relay.networks", "host bits"]),
        ('[relay]\nsmarthost = "mail.example.com"', ["relay.smarthost", "host names are not looked up"]),
        ('[registrar]\npolicy = "open"', ["registrar.policy", '"enrolled", "claim"']),
        ("smtp = 2", ["smtp = 2", "[smtp]"]),
        ("x = \n", ["not valid TOML", "line 1"]),
    ],
)
def test_a_wrong_setting_is_named_with_file_key_value_and_remedy(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, FILE)
    for part in [str(FILE), *parts]:
        assert part in str(caught.value)


def test_a_relative_data_folder_starts_at_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lanpost.toml"
    file.write_text('data = "state"')
    assert load(str(file)).data == tmp_path / "state"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such configuration file"):
        load(str(tmp_path / "missing.toml"))
