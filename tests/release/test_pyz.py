"""lanpost.pyz as `make dist` builds it, run by the Pythons that are found here, without any package installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from release.archive_main import refusal

from lanpost.content.archive import Machine
from lanpost.store.archive_file import check_archive, open_archive, this_machine
from lanpost.store.program_build import Interpreter, build

PYTHONS = ("3.11", "3.12", "3.13")


def run(python: Path | str, pyz: Path, *words: str, folder: Path, status: int = 0) -> str:
    """A command straight from the file; nothing but the standard library and the file itself can be imported."""
    done = subprocess.run(
        [str(python), "-W", "error", "-I", "-S", str(pyz), *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def found(version: str) -> Path | None:
    """A Python of that version on this machine, on the path or among pyenv's."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    folders += sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin"))
    for folder in folders:
        python = folder / f"python{version}"
        try:
            subprocess.run([str(python), "-c", ""], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return None


@pytest.mark.parametrize("version", PYTHONS)
def test_it_runs_without_any_package_installed(version: str, pyz: Path, tmp_path: Path) -> None:
    if (python := found(version)) is None:
        pytest.skip(f"no Python {version} on this machine")
    assert run(python, pyz, "version", folder=tmp_path).startswith(f"lanpost 0.1.0 (Python {version}.")


def test_what_needs_no_native_code_runs_straight_from_it(pyz: Path, tmp_path: Path) -> None:
    python = next(python for version in reversed(PYTHONS) if (python := found(version)))
    (tmp_path / "lanpost.toml").write_text('data = "data"\n')
    assert "in order" in run(python, pyz, "check", folder=tmp_path)
    assert "is unknown here" in run(python, pyz, "lookup", "fax1", folder=tmp_path)
    assert "--dry-run" in run(python, pyz, "push", "--help", folder=tmp_path)
    assert "this terminal is not enrolled" in run(python, pyz, "agent", "--once", folder=tmp_path, status=1)


def test_the_native_wheels_inside_are_for_that_python(pyz: Path, tmp_path: Path) -> None:
    version, python = next((version, python) for version in reversed(PYTHONS) if (python := found(version)))
    minor = (3, int(version.split(".")[1]))
    here = this_machine()
    wheels = open_archive(pyz).wheels_for(Machine(minor, here.architecture, here.glibc))
    build(pyz, wheels, "0.1.0", tmp_path, Interpreter(str(python), minor), str(tmp_path))
    (tmp_path / "lanpost.toml").write_text('data = "data"\n')
    command = [
        str(python),
        "-I",
        "-S",
        str(tmp_path / "bin" / "lanpost"),
        "user",
        "add",
        "anna",
        "--password-stdin",
    ]
    subprocess.run(command, cwd=tmp_path, input=b"a long password\n", check=True)  # by argon2, so by cffi
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'lib')!r}); import uvloop, cryptography.x509, zeroconf"
    )
    subprocess.run([python, "-I", "-S", "-c", script], check=True)


def test_what_needs_native_code_says_to_install_it(pyz: Path, tmp_path: Path) -> None:
    said = run(sys.executable, pyz, "serve", folder=tmp_path, status=1)
    assert said.startswith("lanpost: this command needs the library ")
    assert said.endswith(f"install it first: sudo {sys.executable} {pyz} install\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 5, 3), (3, 10, 13)])
def test_an_old_python_is_refused(version: tuple[int, int, int]) -> None:
    said = refusal(version, "/usr/bin/python3", "lanpost.pyz")
    assert said.startswith("lanpost needs Python 3.11 or newer; this is ")
    assert "(/usr/bin/python3)" in said


def test_a_python_newer_than_the_libraries_inside_is_refused() -> None:
    said = refusal((3, 14, 0), "/usr/bin/python3", "lanpost.pyz")
    assert said.startswith("lanpost needs Python 3.11 to 3.13; this is 3.14.0")


def test_the_file_is_whole_by_its_own_manifest(pyz: Path) -> None:
    archive = check_archive(pyz)
    assert archive.pythons == ((3, 11), (3, 12), (3, 13))
    assert {wheel.name for wheel in archive.wheels} >= {"uvloop", "cryptography", "cffi", "argon2_cffi_bindings"}
