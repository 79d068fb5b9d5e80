"""The manual page, read by a strict reader of such pages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from lanpost.cli.main import COMMANDS

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not shutil.which("mandoc"), reason="not installed: mandoc"),
]


def mandoc(*words: str, page: str) -> str:
    done = subprocess.run(["mandoc", *words], input=page, capture_output=True, text=True, check=False)
    return done.stdout


@pytest.fixture(scope="module")
def page() -> str:
    command = [sys.executable, "-m", "lanpost", "man-page"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_nothing_is_wrong_with_it_but_that_it_bears_no_date(page: str) -> None:
    found = mandoc("-Tlint", "-W", "warning", page=page).splitlines()
    assert [line for line in found if "missing date" not in line] == []


def test_it_tells_of_every_command(page: str) -> None:
    shown = re.sub("(.)\b\\1", r"\1", mandoc("-Tascii", "-O", "width=200", page=page))  # bold is struck twice
    for name in COMMANDS:
        assert re.search(rf"^   lanpost {name}\b", shown, re.MULTILINE), name
