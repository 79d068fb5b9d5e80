"""The agent is carried to small devices: the standard library is all that it needs, and not all of that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import lanpost

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(lanpost.__file__).parent.parent)}

PROGRAM = """
import sys
import {module}
own = {{"lanpost"}} | set({allowed})
loaded = {{name.partition(".")[0] for name in sys.modules}}
builtin = set(sys.builtin_module_names) | set(sys.stdlib_module_names) | {{"__main__"}}
# What the interpreter loads by itself at its start (an editable installation's finder) is not ours.
print(*sorted(loaded - builtin - own - {{name.partition(".")[0] for name in before}}))
"""


@pytest.mark.parametrize(
    ("module", "allowed"), [("lanpost.app.agent", []), ("lanpost.cli.main, lanpost.cli.agent", ["click"])]
)
def test_it_loads_nothing_but_the_standard_library(module: str, allowed: list[str]) -> None:
    program = "import sys; before = set(sys.modules)\n" + PROGRAM.format(module=module, allowed=allowed)
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.split() == []


# Each of them brings a dozen others: what they would do is done in a few lines, or by those who need it.
TOO_LARGE = {"email", "http.client", "importlib.metadata", "zipfile", "lanpost.wire.ldap_messages"}
MODULES = 260  # loaded in all, the interpreter's own included; there are 224


def test_it_leaves_large_modules_alone() -> None:
    program = "import sys; import lanpost.cli.main, lanpost.cli.agent; print(*sys.modules)"
    # Without site: what an editable installation brings along is not ours.
    path = os.pathsep.join([ENVIRONMENT["PYTHONPATH"], str(Path(click.__file__).parent.parent)])
    result = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={**ENVIRONMENT, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(result.stdout.split())
    assert "lanpost.app.agent" in loaded
    assert loaded & TOO_LARGE == set()
    assert len(loaded) <= MODULES
