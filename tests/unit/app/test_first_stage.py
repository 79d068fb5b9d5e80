"""The first stage of `lanpost push` speaks Python 3.5, and runs on whatever old Python is found here."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from lanpost.app import first_stage
from lanpost.wire.push import BOOTSTRAP, Machine, Plan, PushSession, Ready, Request

SOURCE = Path(first_stage.__file__).read_text("utf-8")
OLD = [f"python3.{minor}" for minor in range(6, 11)]
NOT_YET = (ast.AnnAssign, ast.JoinedStr, ast.NamedExpr, ast.Match)  # of Python 3.6 and later


def found(name: str) -> str | None:
    """Such a Python, as installed or as pyenv keeps it."""
    kept = Path.home().glob(f".pyenv/versions/{name.removeprefix('python')}.*/bin/{name}")
    return next(map(str, kept), None) or shutil.which(name)


def test_it_has_nothing_that_python_3_5_does_not_know() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 7))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, NOT_YET)]
    futures = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert not futures
    SOURCE.encode("ascii")


@pytest.mark.parametrize("name", ["python3", *OLD])
def test_it_says_what_is_there(name: str, tmp_path: Path) -> None:
    python = found(name)
    if python is None:
        pytest.skip(f"no {name} here")
    session = PushSession()
    process = subprocess.Popen(
        [python, "-I", "-c", BOOTSTRAP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"LC_ALL": "C", "PYTHONWARNINGS": "error"},
    )
    with process:
        assert process.stdin
        assert process.stdout
        session.receive_data(process.stdout.readline())
        assert isinstance(session.next_event(), Ready)
        session.request(SOURCE, Request("ab" * 32, 10, "1.0", root=str(tmp_path), files=["/etc/x"]))
        process.stdin.write(session.data_to_send())
        process.stdin.close()  # without `go` nothing is done
        session.receive_data(process.stdout.read())
    machine, plan = session.next_event(), session.next_event()
    assert isinstance(machine, Machine)
    shown = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.split()[1] == ".".join(map(str, machine.python))
    assert isinstance(plan, Plan)
    assert (plan.at_hand, plan.offset, plan.current, plan.files) == (False, 0, None, (None,))
    assert not list(tmp_path.iterdir())


def test_what_nobody_foresaw_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    class Odd:
        def readline(self, _: int) -> bytes:
            return b'{"action": "push"}\n'

    first_stage.main(Odd())
    told = [json.loads(line.removeprefix(first_stage.MARK)) for line in capfd.readouterr().out.splitlines()]
    assert told[-1]["event"] == "failed"
    assert told[-1]["kind"] == "internal"
