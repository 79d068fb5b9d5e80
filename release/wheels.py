"""The wheels that lanpost.pyz carries: those of requirements/dist.txt, for each Python and architecture, by hash.

They are kept in a cache, so that a second build needs no network.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

PYTHONS = ((3, 11), (3, 12), (3, 13))
ARCHITECTURES = ("x86_64", "aarch64")
# The oldest C library first: what runs there runs on newer ones too. Debian 12 has glibc 2.36.
GLIBCS = ("2014", "_2_17", "_2_26", "_2_28", "_2_31", "_2_34", "_2_35", "_2_36")


def wheels(requirements: Path, cache: Path) -> list[Path]:
    """All wheels, sorted by name; pure ones (`-none-any`) once. `cache` is filled if need be."""
    folder = cache / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        making = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        for python in PYTHONS:
            for architecture in ARCHITECTURES:
                _download(requirements, making, python, architecture)
        making.rename(folder)
    return sorted(folder.glob("*.whl"), key=lambda path: path.name)


def is_pure(wheel: Path) -> bool:
    return wheel.name.endswith("-none-any.whl")


def _download(requirements: Path, into: Path, python: Sequence[int], architecture: str) -> None:
    version = "".join(map(str, python))
    options: Iterable[str] = (
        *("--python-version", ".".join(map(str, python)), "--implementation", "cp"),
        *(f"--abi={abi}" for abi in (f"cp{version}", "abi3", "none")),
        *(f"--platform=manylinux{glibc}_{architecture}" for glibc in GLIBCS),
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-qqq", "--no-deps", "--require-hashes"),
            *("--only-binary", ":all:", "--dest", str(into), "--requirement", str(requirements)),
            *options,
        ],
        check=True,
    )
