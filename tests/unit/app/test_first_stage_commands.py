"""The first stage of a push, run as ssh runs it: by a Python that has nothing of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources

MARK = "lanpost-push1 "


def answers(request: dict[str, object]) -> list[dict[str, object]]:
    source = resources.files("lanpost.app").joinpath("first_stage.py").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-c", f'{source}\nmain(open(0, "rb", 0, closefd=False))\n'],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/nonexistent"},
    )
    return [json.loads(line.removeprefix(MARK)) for line in done.stdout.splitlines()]


def test_a_command_there_is_found_wherever_it_was_installed_and_whatever_the_login_makes_of_the_path() -> None:
    machine, answer = answers({"action": "ask", "command": ["env"]})
    assert machine["event"] == "machine"
    assert answer["status"] == 0
    path = next(line for line in str(answer["output"]).splitlines() if line.startswith("PATH="))
    assert {"/usr/local/bin", "/usr/bin"} <= set(path.removeprefix("PATH=").split(":"))


def test_a_command_that_is_not_there_is_told_as_shells_do() -> None:
    _, answer = answers({"action": "ask", "command": ["lanpost-that-is-nowhere"]})
    assert answer["status"] == 127
