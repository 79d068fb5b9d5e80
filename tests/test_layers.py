"""Imports point one way, downwards; the event loop stays in `net` and `app`; names are never resolved."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "lanpost"
LEVEL = {"model": 1, "wire": 2, "content": 2, "service": 3, "store": 4, "net": 4, "app": 5, "cli": 6}
LIBRARIES_BY_PACKAGE = {  # the only packages that may import these
    "asyncio": {"net", "app", "cli"},
    "socket": {"net", "app"},
    "sqlite3": {"store"},
    "click": {"cli"},
    "defusedxml": {"content"},
    "PIL": {"content"},
    "numpy": {"content"},
    "pikepdf": {"content"},
    "pypdfium2": {"content"},
    "h11": {"net"},
    "xml": {"content"},
    "starlette": {"net"},
    "uvicorn": {"net"},
}
MODULES = sorted(SOURCE.rglob("*.py"))


def imports(file: Path) -> Iterator[str]:
    """Every module that the file imports, wherever in it, type-only imports included."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module or ""
            if node.module == "lanpost":
                yield from (f"lanpost.{name.name}" for name in node.names)


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL else ""


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_downwards(file: Path) -> None:
    own = package_of("lanpost." + ".".join(file.relative_to(SOURCE).with_suffix("").parts))
    for module in imports(file):
        if not own:
            continue
        root = module.split(".")[0]
        if root == "lanpost" and (other := package_of(module)) and other != own:
            assert LEVEL[other] < LEVEL[own], f"{own} imports {module}"
        if root in LIBRARIES_BY_PACKAGE:
            assert own in LIBRARIES_BY_PACKAGE[root], f"{own} imports {module}"


def test_every_package_has_a_level() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(LEVEL)


def test_errors_import_nothing_of_ours() -> None:
    assert not [module for module in imports(SOURCE / "errors.py") if module.startswith("lanpost")]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_modules_stay_small(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= 500
