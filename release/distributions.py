"""The libraries in lanpost.pyz as their wheels describe them: licence and its texts, what they need and hold.

Raises ValueError where a wheel leaves open under which licence it may be passed on: then somebody has to look.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOTICES = Path(__file__).with_name("notices")
# SPDX expressions of those whose METADATA has none.
LICENCES = {"defusedxml": "PSF-2.0", "h11": "MIT", "ifaddr": "MIT", "uvloop": "Apache-2.0 OR MIT"}
# Linked into a wheel's native code without a word in it: name and SPDX expression. Texts are in `notices`.
LINKED = {
    "argon2-cffi-bindings": (("phc-winner-argon2", "CC0-1.0 OR Apache-2.0"),),
    "cffi": (("libffi", "MIT"),),
    "uvloop": (("libuv", "MIT"),),
}
_TEXT = re.compile(r"(licen[cs]e|copying|notice|authors)[^/]*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class File:
    """One wheel. `size` in octets."""

    name: str
    sha256: str
    size: int


@dataclass(slots=True)
class Distribution:
    """One library, in one or more wheels."""

    name: str  # as PyPI writes it in addresses
    version: str
    licence: str  # SPDX expression
    home: str
    requires: tuple[str, ...]
    files: list[File] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    inside: list[dict[str, Any]] = field(default_factory=list)  # CycloneDX components

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def distributions(wheels: Iterable[Path]) -> list[Distribution]:
    """All of them, sorted by name."""
    found: dict[str, Distribution] = {}
    for path in wheels:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            described = {
                name.split(".dist-info/", 1)[1]: wheel.read(name)
                for name in wheel.namelist()
                if ".dist-info/" in name and not name.endswith("/")
            }
        one = _described(described)
        one = found.setdefault(one.name, one)
        one.files.append(File(path.name, hashlib.sha256(content).hexdigest(), len(content)))
    return [found[name] for name in sorted(found)]


def _described(described: Mapping[str, bytes]) -> Distribution:
    metadata = BytesParser().parsebytes(described["METADATA"])
    name = canonicalize_name(metadata["Name"])
    licence = metadata["License-Expression"] or LICENCES.get(name, "")
    if not licence:
        raise ValueError(
            f"{name}: METADATA has no License-Expression: look, and add it to release/distributions.py"
        )
    texts = {Path(file).name: text for file, text in described.items() if _TEXT.search(file)}
    if not texts:
        raise ValueError(f"{name}: its wheel holds no text of its licence")
    inside = []
    for component, expression in LINKED.get(name, ()):
        inside.append({"type": "library", "name": component, "licenses": [{"expression": expression}]})
        notice = NOTICES / f"{component}.txt"
        if notice.exists():
            texts[notice.name] = notice.read_bytes()
    for file in sorted(described):
        if file.startswith("sboms/") and file.endswith(".json"):  # PEP 770
            inside += json.loads(described[file]).get("components", [])
    return Distribution(name, metadata["Version"], licence, _home(metadata), _requires(metadata), [], texts, inside)


def _requires(metadata: Message) -> tuple[str, ...]:
    asked: dict[str, str | AbstractSet[str]] = {
        "python_version": "3.11",
        "python_full_version": "3.11.0",
        "extra": "",
    }
    wanted = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    names = {canonicalize_name(each.name) for each in wanted if not each.marker or each.marker.evaluate(asked)}
    return tuple(sorted(names))


def _home(metadata: Message) -> str:
    links = {
        label.strip().lower(): url.strip()
        for label, _, url in (link.partition(",") for link in metadata.get_all("Project-URL", []))
    }
    for label in ("source", "source code", "repository", "homepage", "home"):
        if label in links:
            return links[label]
    return str(metadata["Home-page"] or "")
