"""Documentation that can fail: every setting and every command is told of, with its true default."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from lanpost.app.config import parse
from lanpost.app.settings import Settings
from lanpost.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| `([a-z0-9_.]+)` \| `([^`]+)` \| \S", re.MULTILINE)
SHOWN = dict(ROW.findall((ROOT / "docs" / "configuration.md").read_text("utf-8")))


def settings_keys() -> list[str]:
    keys = []
    for item in fields(Settings):
        value = getattr(Settings(), item.name)
        if is_dataclass(value):
            keys += [f"{item.name}.{inner.name}" for inner in fields(value)]
        elif item.metadata:
            keys.append(item.name)
    return keys


def value_of(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("key", settings_keys())
def test_every_setting_is_told_of_with_its_true_default(key: str) -> None:
    table, _, name = key.rpartition(".")
    text = f"[{table}]\n{name} = {SHOWN[key]}" if table else f"{name} = {SHOWN[key]}"
    assert value_of(parse(text, ROOT / "x.toml"), key) == value_of(Settings(), key)


def test_no_setting_is_told_of_that_does_not_exist() -> None:
    assert set(SHOWN) == set(settings_keys())


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_told_of(command: str) -> None:
    assert f"`lanpost {command}" in (ROOT / "docs" / "cli.md").read_text("utf-8")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
