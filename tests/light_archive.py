"""A small lanpost.pyz for tests of installing: what commands need of our code and click, in any version.

It starts, prints its version, completions and a manual page; it does not serve. `renumbered` makes another
version of a whole one.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

from release.archive_file import MAIN, zip_of
from release.wheels import ARCHITECTURES, PYTHONS

from lanpost.content.archive import MANIFEST, read_manifest, write_manifest
from lanpost.store.program_file import FILE_NAME

INIT, VERSION = "lanpost/__init__.py", re.compile(rb'__version__ = "[^"]*"')
LEFT_OUT = ("service", "wire")  # folders that no command needs to start
SOURCE = Path(__file__).resolve().parent.parent / "src"


def light_archive(folder: Path, version: str = "1.0", changed: Mapping[str, str] | None = None) -> Path:
    """`folder/lanpost.pyz`; `changed`: members with another text."""
    members = {"__main__.py": MAIN.read_bytes(), MANIFEST: write_manifest(version, PYTHONS, ARCHITECTURES, [])}
    members |= {
        str(file.relative_to(SOURCE)): file.read_bytes()
        for file in SOURCE.rglob("*")
        if file.suffix == ".py" and not any(name in file.parts for name in LEFT_OUT)
    }
    for file in distribution("click").files or ():
        if file.suffix == ".py":
            members[str(file)] = Path(str(file.locate())).read_bytes()
    members[f"lanpost-{version}.dist-info/METADATA"] = (
        f"Metadata-Version: 2.1\nName: lanpost\nVersion: {version}\n".encode()
    )
    members[INIT] = _calling_itself(version, members[INIT])
    members[INIT] = _calling_itself(version, members[INIT])
    members |= {name: text.encode() for name, text in (changed or {}).items()}
    return _written(folder, members)


def renumbered(whole: Path, folder: Path, version: str, changed: Mapping[str, str] | None = None) -> Path:
    """A copy of a lanpost.pyz that calls itself `version`; `changed` as above."""
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = read_manifest(members[MANIFEST])
    members[MANIFEST] = members[MANIFEST].replace(f'"{manifest.version}"'.encode(), f'"{version}"'.encode(), 1)
    old, new = f"lanpost-{manifest.version}.dist-info/", f"lanpost-{version}.dist-info/"
    metadata = members[f"{old}METADATA"].replace(
        f"Version: {manifest.version}".encode(), f"Version: {version}".encode()
    )
    members = {name.replace(old, new): content for name, content in members.items()}
    members[f"{new}METADATA"] = metadata
    members[INIT] = _calling_itself(version, members[INIT])
    members |= {name: text.encode() for name, text in (changed or {}).items()}
    return _written(folder, members)


def _calling_itself(version: str, init: bytes) -> bytes:
    return VERSION.sub(f'__version__ = "{version}"'.encode(), init)


def _written(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE_NAME
    file.write_bytes(zip_of(members))
    file.chmod(0o755)
    return file
