"""Documentation that can fail: settings, commands, links, standards, generated pages are as the code is."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lanpost import __version__
from lanpost.app.config import parse
from lanpost.app.settings import Settings
from lanpost.cli.main import COMMANDS
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.service.directory_tree import CONTROLS, EXTENSIONS, FEATURES, ChartNode, Tree
from lanpost.wire.ldap_messages import ResultCode

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")])
ROW = re.compile(r"^\| `([a-z0-9_.]+)` \| `([^`]+)` \| \S", re.MULTILINE)
SHOWN = dict(ROW.findall((ROOT / "docs" / "configuration.md").read_text("utf-8")))
PROTOCOLS = (ROOT / "docs" / "protocols.md").read_text("utf-8")
CITED = re.compile(r"RFC (\d{4})\b")
STANDARD = re.compile(r"^\| RFC (\d{4}) \| [^|]+ \| (yes|partial|no|used)\b", re.MULTILINE)


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
    assert f"## `lanpost {command}" in (ROOT / "docs" / "cli.md").read_text("utf-8")


@pytest.mark.parametrize(("script", "page"), [("make-cli-docs", "cli.md"), ("make-state-docs", "states.md")])
def test_pages_made_from_the_code_are_up_to_date(script: str, page: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"}
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script)], env=environment, capture_output=True, check=True
    )
    assert made.stdout.decode() == (ROOT / "docs" / page).read_text("utf-8"), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", prose):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_commands_in_the_pages_exist() -> None:
    told = "\n".join(page.read_text("utf-8") for page in PAGES if page.name != "CHANGELOG.md")
    named = set(re.findall(r"`lanpost ([a-z-]+)", told)) | set(
        re.findall(r"^lanpost ([a-z-]+)", told, re.MULTILINE)
    )
    assert named <= set(COMMANDS)


def test_code_and_package_are_of_one_version() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == __version__


def test_each_decision_has_a_number_of_its_own() -> None:
    numbers = Counter(page.name[:4] for page in (ROOT / "docs" / "decisions").glob("*.md"))
    assert all(count == 1 for count in numbers.values()), numbers


def test_every_standard_that_the_code_cites_is_listed_and_those_we_follow_are_cited() -> None:
    cited = {number for file in (ROOT / "src").rglob("*.py") for number in CITED.findall(file.read_text("utf-8"))}
    listed = dict(STANDARD.findall((ROOT / "docs" / "standards.md").read_text("utf-8")))
    assert cited <= set(listed), "cited in src/, not listed in docs/standards.md"
    followed = {number for number, state in listed.items() if state in ("yes", "partial")}
    assert followed <= cited, "docs/standards.md says yes or partial, nothing in src/ cites it"


def logged_events() -> set[str]:
    """What the server logs at info or above, by its text."""
    events = set()
    for file in (ROOT / "src").rglob("*.py"):
        text = file.read_text("utf-8")
        if "structlog.get_logger()" not in text:
            continue
        for call in ast.walk(ast.parse(text)):
            if (
                isinstance(call, ast.Call)
                and ast.unparse(call.func) in ("log.info", "log.warning", "log.error", "log.exception")
                and call.args
            ):
                texts = [part for part in ast.walk(call.args[0]) if isinstance(part, ast.Constant)]
                events |= {part.value for part in texts if isinstance(part.value, str)}
    return events


@pytest.mark.parametrize("event", sorted(logged_events()))
def test_every_event_in_the_log_is_told_of(event: str) -> None:
    assert f"`{event}`" in (ROOT / "docs" / "operations.md").read_text("utf-8")


def refusals() -> set[str]:
    """Results that our directory gives, by their names in RFC 4511."""
    served = ("ldap", "ldap_asked", "ldap_operations", "ldap_searches", "ldap_sync")
    files = [ROOT / f"src/lanpost/net/{name}.py" for name in served]
    files += (ROOT / "src/lanpost/service").glob("directory_*.py")
    used = {each for file in files for each in re.findall(r"ResultCode\.([A-Z_]+)", file.read_text("utf-8"))}
    return {name for name in used if name not in ("SUCCESS", "COMPARE_TRUE", "COMPARE_FALSE")}


@pytest.mark.parametrize("name", sorted(refusals()))
def test_every_result_of_the_directory_is_told_of(name: str) -> None:
    first, *others = name.lower().split("_")
    shown = first + "".join({"rdn": "RDN", "dn": "DN"}.get(word, word.capitalize()) for word in others)
    assert f"`{shown}` ({ResultCode[name]:d})" in PROTOCOLS


def test_what_the_directory_offers_is_told_of() -> None:
    for number in (*EXTENSIONS, *CONTROLS, *FEATURES):
        assert f"`{number.decode()}`" in PROTOCOLS
    node = ChartNode(Tree("office.lan"), Entry(MailAddress.parse("fax1@office.lan")), datetime.now(UTC))
    for attribute in (*node.user_attributes(), *node.operational_attributes()):
        assert f"`{attribute}`" in PROTOCOLS


def test_every_figure_is_told_of() -> None:
    code = "\n".join(file.read_text("utf-8") for file in (ROOT / "src").rglob("*.py"))
    told = (ROOT / "docs" / "operations.md").read_text("utf-8")
    gauges = re.findall(r'^ +\("([a-z_]+)", "[A-Z][^"]*\."\),$', code, re.MULTILINE)
    figures = {*re.findall(r'"(lanpost_[a-z_]+)"', code), *(f"lanpost_{gauge}" for gauge in gauges)}
    assert "lanpost_queue" in figures
    assert all(f"`{figure}`" in told for figure in figures), figures
