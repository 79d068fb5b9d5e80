"""Puts lanpost.pyz together: the same bytes from the same sources, wherever and whenever it is built.

Nothing is compressed: what is big lies in wheels, which are; and what a compressor makes of its input is another
thing with each version of it.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lanpost.content.archive import BUNDLE, MANIFEST, SBOM, WHEELS, read_wheel, write_manifest
from lanpost.store.formats import FORMAT as STORE_FORMAT
from release.distributions import distributions
from release.documentation import documentation
from release.sbom import sbom
from release.wheels import ARCHITECTURES, PYTHONS, is_pure

SHEBANG = b"#!/usr/bin/env python3\n"
TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
MAIN = Path(__file__).with_name("archive_main.py")
_INIT = "lanpost/__init__.py"
_GENERATED = re.compile(r"(__pycache__/|.*/__pycache__/|.*\.pyc\Z)")


def build(root: Path, wheels: Sequence[Path], version: str = "") -> bytes:
    """The file's content. `version`: the one it is to call itself, else pyproject.toml's."""
    members: dict[str, bytes] = {"__main__.py": MAIN.read_bytes()}
    own, version = _own_package(root, version)
    members |= own
    native = []
    for wheel in wheels:
        content = wheel.read_bytes()
        if is_pure(wheel):
            members |= _unpacked(content, members, wheel.name)
        else:
            native.append(read_wheel(wheel.name, hashlib.sha256(content).hexdigest(), len(content)))
            members[WHEELS + wheel.name] = content
    for name, content in _beside(root, version, wheels).items():
        members[BUNDLE + name] = content
    members[MANIFEST] = write_manifest(version, PYTHONS, ARCHITECTURES, native, STORE_FORMAT)
    return zip_of(members)


def zip_of(members: dict[str, bytes]) -> bytes:
    """A zip file of them behind SHEBANG, sorted, nothing in it that the members do not say."""
    made = io.BytesIO()
    made.write(SHEBANG)  # before the zip and not laid before it: the places that it names are those in the file
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, TIME)
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = (0o100644) << 16
            archive.writestr(entry, members[name])
    return made.getvalue()


def _beside(root: Path, version: str, wheels: Sequence[Path]) -> dict[str, bytes]:
    """What `lanpost bundle` writes beside the file: documentation, licences, SBOM."""
    libraries = distributions(wheels)
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["discovery"]]
    found = {f"documentation/{name}": content for name, content in documentation(root).items()}
    found["licences/lanpost/LICENSE"] = (root / "LICENSE").read_bytes()
    for library in libraries:
        for name, content in library.texts.items():
            found[f"licences/{library.name}-{library.version}/{name}"] = content
    found[SBOM] = sbom(version, (canonicalize_name(Requirement(each).name) for each in wanted), libraries)
    return found


def _own_package(root: Path, version: str) -> tuple[dict[str, bytes], str]:
    """Our own wheel's members, and the version that they say."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
            cwd=root,
            check=True,
            capture_output=True,
        )
        (wheel,) = Path(folder).glob("*.whl")
        members = _unpacked(wheel.read_bytes(), {}, wheel.name)
    built = wheel.name.split("-")[1]
    if not version or version == built:
        return members, built
    words = f"lanpost-{built}.dist-info/"
    told = {name: content for name, content in members.items() if name.startswith(words)}
    code = {name: content for name, content in members.items() if name not in told}
    renamed = {
        name.replace(built, version, 1): content.replace(built.encode(), version.encode())
        for name, content in told.items()
    }
    code[_INIT] = code[_INIT].replace(f'__version__ = "{built}"'.encode(), f'__version__ = "{version}"'.encode())
    return code | renamed, version


def _unpacked(wheel: bytes, beside: dict[str, bytes], what: str) -> dict[str, bytes]:
    found = {}
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in archive.namelist():
            if name.endswith("/") or _GENERATED.match(name):
                continue
            if ".data/" in name:
                raise ValueError(f"{what} holds {name}, which belongs outside of its package")
            if name in beside:
                raise ValueError(f"{what} holds {name}, which another has brought")
            found[name] = archive.read(name)
    return found
