"""The list of commands, which is shown without any of them."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from lanpost.cli import fax, main
from lanpost.cli.lazy_group import Place


@pytest.mark.parametrize("places", [main.COMMANDS, fax.COMMANDS])
def test_every_command_is_found_at_its_place(places: dict[str, Place]) -> None:
    for name, place in places.items():
        assert isinstance(place.load(), click.Command)
        assert place.load().name == name


def test_the_list_has_each_command_on_one_line() -> None:
    printed = CliRunner().invoke(main.lanpost, ["--help"]).output
    for name, place in main.COMMANDS.items():
        assert f"{name} {place.summary}" in " ".join(printed.split())
        assert any(line.strip().startswith(name) and line.endswith(place.summary) for line in printed.splitlines())


def test_the_list_imports_no_command() -> None:
    script = (
        "import sys; from lanpost.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('lanpost.app')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
