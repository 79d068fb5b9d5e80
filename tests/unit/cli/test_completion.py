"""The completion scripts, and what they ask the program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lanpost.cli.completion import completion

SOURCE = Path(__file__).resolve().parents[3] / "src"
# As a person who presses the tabulator: the words so far, and which of them is to be completed.
ASK = 'COMP_WORDS=(lanpost un); COMP_CWORD=1; _lanpost_completion lanpost; echo "${COMPREPLY[@]}"'


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_a_script_asks_for_what_its_shell_wants(shell: str) -> None:
    script = CliRunner().invoke(completion, [shell]).output
    assert f"_LANPOST_COMPLETE={shell}_complete" in script


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_a_command(tmp_path: Path) -> None:
    program = tmp_path / "lanpost"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lanpost "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = CliRunner().invoke(completion, ["bash"]).output
    done = subprocess.run(
        ["bash", "-c", f"complete() {{ :; }}\n{script}\n{ASK}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["uninstall"], done.stderr
