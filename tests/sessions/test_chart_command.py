"""`lanpost chart` and `lanpost watch`, as people and scripts use them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import lanpost
from lanpost.cli.main import main

Run = Callable[..., str]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "lanpost.toml"
    file.write_text(f'domain = "office.lan"\ndata = "{tmp_path}/data"\n')
    monkeypatch.setenv("LANPOST_CONFIG", str(file))
    monkeypatch.setenv("PYTHONPATH", str(Path(lanpost.__file__).parent.parent))
    return file


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must succeed: its standard output. `status`: the status of one that fails, its stderr."""

    def run_command(*words: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == status, err
        return err if status else out

    return run_command


def start(*words: str, **options: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "lanpost", *words], text=True, **options)  # type: ignore[call-overload,no-any-return]


def test_a_mailbox_is_not_bound_and_a_terminal_gets_no_mailbox(
    run: Run, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("right horse\n"))
    run("user", "add", "anna", "--password-stdin")
    said = run("chart", "set", "Anna", "10.0.0.7", status=1)
    assert "Anna@office.lan is a mailbox here" in said
    assert "`lanpost user remove Anna@office.lan` first" in said
    run("chart", "set", "fax1", "10.0.0.7")
    said = run("user", "add", "FAX1", "--password-stdin", status=1)
    assert "FAX1@office.lan is in the chart" in said
    assert "`lanpost chart remove FAX1@office.lan` first" in said
    run("chart", "remove", "fax1")
    run("user", "remove", "anna")
    run("chart", "set", "anna", "10.0.0.7")


def test_a_binding_set_by_hand_is_listed_and_does_not_expire(run: Run) -> None:
    assert run("chart", "set", "Fax1", "10.0.0.7") == "Fax1@office.lan is at 10.0.0.7:25, for good\n"
    assert "(was 10.0.0.7:25)" in run("chart", "set", "fax1", "[fe80::7%eth0]:2525")
    header, line = run("chart", "list").splitlines()
    assert header.split() == ["ADDRESS", "ENDPOINT", "UPDATED", "EXPIRES", "SOURCE"]
    address, endpoint, _day, _time, expires, source = line.split()
    assert (address, endpoint, expires, source) == (
        "fax1@office.lan",
        "[fe80::7%eth0]:2525",
        "never",
        "administrator",
    )
    assert json.loads(run("chart", "list", "--json"))[0]["endpoint"] == "[fe80::7%eth0]:2525"


def test_an_empty_chart_lists_nothing(run: Run) -> None:
    assert run("chart", "list").split() == ["ADDRESS", "ENDPOINT", "UPDATED", "EXPIRES", "SOURCE"]
    assert json.loads(run("chart", "list", "--json")) == []


@pytest.mark.parametrize(
    ("address", "endpoint"), [("fax 1", "10.0.0.7"), ("fax1", "printer"), ("fax1", "10.0.0.7:0")]
)
def test_what_cannot_be_bound_is_refused_in_one_line(run: Run, address: str, endpoint: str) -> None:
    error = run("chart", "set", address, endpoint, status=1)
    assert error.startswith("lanpost: ")
    assert error.count("\n") == 1


def test_removing_forgets_and_an_unknown_address_fails(run: Run) -> None:
    run("chart", "set", "fax1", "10.0.0.7")
    assert run("chart", "remove", "FAX1@Office.lan") == "FAX1@Office.lan is forgotten\n"
    assert "not in the chart" in run("chart", "remove", "fax1", status=1)


def test_an_export_is_imported_as_it_was(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(
        "address;endpoint;expires;source;owner\n"
        '"""a b""";10.0.0.7;2099-01-01T00:00:00Z;agent;a@office.lan\n'
        "old;10.0.0.8;2000-01-01T00:00:00Z;;\nknown;;;;\n".replace("2000", "2098")
    )
    assert run("chart", "import", str(source)) == "2 bindings imported, 1 known without an endpoint\n"
    before = run("chart", "list", "--json")
    assert len(json.loads(before)) == 3
    for name in ("out.csv", "out.json"):
        assert run("chart", "export", str(tmp_path / name)) == f"3 entries written to {tmp_path / name}\n"
        for entry in json.loads(before):
            run("chart", "remove", entry["address"])
        run("chart", "import", str(tmp_path / name))
        assert run("chart", "list", "--json") == before
    assert run("chart", "export", "-").startswith("address,endpoint,")
    assert run("chart", "export", "-", "--format", "json") == before


def test_of_a_file_with_a_bad_line_nothing_is_imported_unless_told(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("address,endpoint\nfax1,10.0.0.7\nfax2,printer\nfax3,10.0.0.9\nfax 4,10.0.0.9\n")
    error = run("chart", "import", str(source), status=1)
    assert "in.csv, line 3: 'printer' is not an endpoint" in error
    assert "line 5" in error
    assert "nothing was imported" in error
    assert json.loads(run("chart", "list", "--json")) == []
    assert run("chart", "import", str(source), "--skip-bad") == "2 bindings imported, 2 bad ones skipped\n"
    assert [entry["address"] for entry in json.loads(run("chart", "list", "--json"))] == [
        "fax1@office.lan",
        "fax3@office.lan",
    ]


def test_a_file_that_is_no_chart_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("fax1,10.0.0.7\n")
    assert "must be a header" in run("chart", "import", str(tmp_path / "in.csv"), status=1)
    assert "--format" in run("chart", "import", str(tmp_path / "lanpost.toml"), status=1)
    run("chart", "import", str(tmp_path / "missing.csv"), status=2)
    assert "cannot be written" in run("chart", "export", str(tmp_path / "no" / "out.csv"), status=1)


@pytest.mark.usefixtures("config")
def test_standard_input_may_be_a_pipe(run: Run) -> None:
    lines = "address,endpoint\n" + "".join(f"fax{number},10.1.0.{number}\n" for number in range(200))
    process = start("chart", "import", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.communicate(lines, timeout=30) == ("200 bindings imported\n", "")
    assert len(json.loads(run("chart", "list", "--json"))) == 200
    assert len(run("chart", "list").splitlines()) == 201


@pytest.mark.parametrize("as_json", [False, True])
def test_watch_prints_changes_as_they_happen_until_interrupted(run: Run, as_json: bool) -> None:
    words = ["watch", "--json"] if as_json else ["watch"]
    process = start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    assert process.stderr.readline().startswith("Watching sqlite:")
    os.set_blocking(process.stdout.fileno(), False)
    line = ""
    while not line:  # it says that it watches a moment before it does
        run("chart", "set", "fax1", "10.0.0.7")
        line = process.stdout.readline()
    os.set_blocking(process.stdout.fileno(), True)
    run("chart", "remove", "fax1")
    while "forgotten" not in (gone := process.stdout.readline()):
        assert "10.0.0.7" in gone  # set more than once
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    if as_json:
        told = json.loads(line)
        assert (told["address"], told["endpoint"], told["expires"]) == ("fax1@office.lan", "10.0.0.7:25", None)
        assert told["time"].endswith("Z")
    else:
        assert line.split()[1:] == ["fax1@office.lan", "10.0.0.7:25", "for", "good", "(administrator)"]
