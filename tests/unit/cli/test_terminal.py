"""What `lanpost terminal` and `lanpost ca` print."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lanpost.cli.main import lanpost
from lanpost.errors import LanpostError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.model.last_delivery import LastDelivery
from lanpost.model.token import EnrolmentToken
from lanpost.store.last_deliveries import LastDeliveries

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


class Command:
    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.file = folder / "lanpost.toml"
        self.file.write_text('data = "data"\n[http]\nlisten = ["10.0.0.2:8025"]\n')

    def __call__(self, *words: str) -> Result:
        result = CliRunner().invoke(lanpost, [*words, "--config", str(self.file)])
        if isinstance(result.exception, LanpostError):
            raise result.exception
        return result


@pytest.fixture
def run(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_add_prints_one_line_to_paste_and_the_rest_beside_it(run: Command) -> None:
    added = run("terminal", "add", "fax1")
    *words, token = added.stdout.split()
    assert added.stdout.count("\n") == 1
    assert words == ["lanpost", "agent", "enrol"]
    assert str(EnrolmentToken.decode(token).address) == "fax1@office.lan"
    assert "https://10.0.0.2:8025" in added.stderr


def test_add_as_json_has_what_a_script_needs(run: Command) -> None:
    fields = json.loads(run("terminal", "add", "fax1", "--json").stdout)
    token = EnrolmentToken.decode(fields["token"])
    assert fields["address"] == "fax1@office.lan"
    assert (fields["secret"], fields["urls"], fields["pin"]) == (token.secret, ["https://10.0.0.2:8025"], token.pin)


def test_list_show_rotate_and_remove(run: Command) -> None:
    assert json.loads(run("terminal", "list", "--json").stdout) == []
    assert run("terminal", "list").stdout.split() == [
        "ADDRESS",
        "ENDPOINT",
        "STATE",
        "UPDATED",
        "EXPIRES",
        "SOURCE",
        "LAST",
        "DELIVERY",
    ]
    first = run("terminal", "add", "fax1", "--speaks-for-others").stdout
    run("terminal", "add", "fax2")
    run("chart", "set", "fax1", "10.0.0.7:2525")
    one, other = json.loads(run("terminal", "list", "--json").stdout)
    assert (one["address"], one["endpoint"], one["state"]) == ("fax1@office.lan", "10.0.0.7:2525", "live")
    assert (one["expires"], one["source"], one["speaks_for_others"]) == (None, "administrator", True)
    assert (other["address"], other["endpoint"], other["state"]) == ("fax2@office.lan", None, "none")
    assert json.loads(run("terminal", "show", "fax1", "--json").stdout) == one
    assert "speaks for others: yes" in run("terminal", "show", "fax1").stdout
    assert "10.0.0.7:2525" in run("terminal", "list").stdout
    assert run("terminal", "rotate", "fax1").stdout not in ("", first)
    assert "forgotten" in run("terminal", "remove", "fax1").stdout
    assert [item["address"] for item in json.loads(run("terminal", "list", "--json").stdout)] == ["fax2@office.lan"]
    assert "fax1" not in run("chart", "list").stdout


def test_rename_moves_the_terminal_with_all_that_is_known_of_it(run: Command) -> None:
    run("terminal", "add", "fax1", "--mac", "00:11:22:33:44:55")
    run("chart", "set", "fax1", "10.0.0.7:2525")
    deliveries = LastDeliveries(run.data)
    deliveries.put([LastDelivery(MailAddress.parse("fax1@office.lan"), Endpoint("10.0.0.7"), NOW)])
    deliveries.close()
    assert "fax1@office.lan is fax9@office.lan from now on" in run("terminal", "rename", "fax1", "fax9").stdout
    (one,) = json.loads(run("terminal", "list", "--json").stdout)
    assert (one["address"], one["endpoint"], one["mac"]) == (
        "fax9@office.lan",
        "10.0.0.7:2525",
        "00:11:22:33:44:55",
    )
    assert (one["last_delivery"], one["last_delivery_endpoint"]) == ("2026-11-27T12:00:00Z", "10.0.0.7:25")
    assert "fax1" not in run("chart", "list").stdout
    with pytest.raises(LanpostError, match="not enrolled"):
        run("terminal", "rename", "fax1", "fax8")
    assert run("terminal", "rename", "fax9", "fax9").exit_code == 2
    run("terminal", "remove", "fax9")
    run("terminal", "add", "fax9")
    (one,) = json.loads(run("terminal", "list", "--json").stdout)
    assert one["last_delivery"] is None


def test_a_device_that_can_run_nothing_is_known_by_what_the_dhcp_server_sees(run: Command) -> None:
    added = run("terminal", "add", "scanner", "--mac", "00-11-22-AA-BB-CC", "--hostname", "Scanner", "--learn")
    assert "Its SMTP login is scanner@office.lan, its password " in added.stderr
    shown = json.loads(run("terminal", "show", "scanner", "--json").stdout)
    names = ("mac", "client_id", "hostname", "learn", "port")
    assert [shown[name] for name in names] == ["00:11:22:aa:bb:cc", None, "scanner", True, 25]
    run("terminal", "rotate", "scanner")
    said = run("terminal", "set", "scanner", "--no-mac", "--client-id", "01:02", "--no-learn").stdout
    assert "0102" in said
    (shown,) = json.loads(run("terminal", "list", "--json").stdout)
    assert [shown[name] for name in names] == [None, "0102", "scanner", False, 25]
    with pytest.raises(LanpostError, match=r"host name of scanner@office.lan already.*terminal set.*--no-hostname"):
        run("terminal", "add", "copier", "--hostname", "scanner.office.lan")
    run("terminal", "add", "fax1")
    with pytest.raises(LanpostError, match="client identifier of scanner"):
        run("terminal", "set", "fax1", "--client-id", "0102")
    assert "copier" not in run("chart", "list").stdout
    assert run("terminal", "set", "scanner").exit_code == 2
    assert run("terminal", "set", "scanner", "--mac", "00:11:22:33:44:55", "--no-mac").exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "fax1"), "enrolled already.*rotate"),
        (("add", "a b"), "not a mail address"),
        (("remove", "fax9"), "not enrolled"),
        (("set", "fax9", "--learn"), "not enrolled"),
        (("add", "fax9", "--mac", "00:11"), "not a hardware address"),
        (("add", "fax9", "--port", "80"), "endpoint_ports"),
        (("set", "fax1", "--port", "80"), "endpoint_ports"),
        (("rotate", "fax9"), "not enrolled"),
        (("show", "fax9"), "not enrolled"),
    ],
)
def test_what_is_refused_says_what_to_do(run: Command, words: tuple[str, ...], said: str) -> None:
    run("terminal", "add", "fax1")
    with pytest.raises(LanpostError, match=said):
        run("terminal", *words)


def test_the_ca_is_shown_and_exported(run: Command) -> None:
    shown = json.loads(run("ca", "show", "--json").stdout)
    token = json.loads(run("terminal", "add", "fax1", "--json").stdout)
    assert shown["pin"] == token["pin"]
    assert run("ca", "export").stdout == Path(shown["file"]).read_text()
    assert shown["pin"] in run("ca", "show").stdout


def test_a_token_for_the_directory_is_made_where_there_is_one(run: Command, tmp_path: Path) -> None:
    with pytest.raises(LanpostError, match=r"ldap\.listen"):
        run("terminal", "add", "fax1", "--ldap")
    run.file.write_text('data = "data"\n[ldap]\nlisten = ["10.0.0.2:389"]\n')
    fields = json.loads(run("terminal", "add", "fax1", "--ldap", "--json").stdout)
    assert fields["urls"] == ["ldaps://10.0.0.2:389/cn=fax1,ou=chart,dc=office,dc=lan"]
    assert json.loads(run("terminal", "rotate", "fax1", "--ldap", "--json").stdout)["urls"] == fields["urls"]
    assert run("terminal", "add", "dhcp", "--ldap", "--speaks-for-others").exit_code == 2
    pem = tmp_path / "slapd.pem"
    assert "10.0.0.5" in run("ca", "issue-server", "10.0.0.5", "--out", str(pem)).stdout
    assert pem.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LanpostError, match="is there already"):
        run("ca", "issue-server", "10.0.0.5", "--out", str(pem))
    with pytest.raises(LanpostError, match="IP addresses"):
        run("ca", "issue-server", "ldap.office.lan", "--out", str(tmp_path / "other.pem"))


def test_a_terminals_certificate_is_for_its_owner_alone_and_replaced_only_when_told(
    run: Command, tmp_path: Path
) -> None:
    pem = tmp_path / "fax1.pem"
    assert "of fax1@office.lan, for a year" in run("ca", "issue", "fax1", "--out", str(pem)).stdout
    first = pem.read_bytes()
    assert pem.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" in first
    assert b"BEGIN CERTIFICATE" in first
    with pytest.raises(LanpostError, match=r"fax1\.pem is there already; say --replace"):
        run("ca", "issue", "fax1", "--out", str(pem))
    assert pem.read_bytes() == first
    pem.chmod(0o644)
    run("ca", "issue", "fax1", "--out", str(pem), "--replace")
    assert pem.read_bytes() != first
    assert pem.stat().st_mode & 0o777 == 0o600


def test_a_certificate_that_cannot_be_made_or_written_says_why(run: Command, tmp_path: Path) -> None:
    with pytest.raises(LanpostError, match="not a mail address"):
        run("ca", "issue", "a b", "--out", str(tmp_path / "x.pem"))
    with pytest.raises(LanpostError, match=r"none/x\.pem: No such file or directory; name another with --out"):
        run("ca", "issue", "fax1", "--out", str(tmp_path / "none/x.pem"))
    with pytest.raises(LanpostError, match="Is a directory; name another"):
        run("ca", "issue", "fax1", "--out", str(tmp_path), "--replace")
    with pytest.raises(LanpostError, match="no account's name"):
        run("ca", "issue-account", "cn=x,ou=accounts", "--out", str(tmp_path / "x.pem"))
    assert not (tmp_path / "x.pem").exists()
