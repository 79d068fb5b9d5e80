"""`lanpost-archive.json`, which says what a `lanpost.pyz` holds, and which of its wheels a machine needs.

Pure: bytes in, values out. Raises InvalidArchive, and says what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lanpost.errors import InvalidArchive

MANIFEST = "lanpost-archive.json"  # its name in the archive
WHEELS = "wheels/"  # the folder of the wheels there
BUNDLE = "bundle/"  # the folder there of what `lanpost bundle` writes beside the file
SBOM = "lanpost.cdx.json"  # in that folder: what the file is made of, as CycloneDX
FORMAT = 1
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
# Wheels of CPython for Linux with glibc; those of other kinds are not put in.
_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[^-/]+)-cp3(?P<minor>\d+)-(?P<abi>[a-z0-9]+)-(?P<at>[^-/]+)\.whl\Z"
)
_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)\Z")
_OLD_GLIBC = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}  # PEP 600


@dataclass(frozen=True, slots=True)
class Machine:
    """What wheels must fit. `python` as (3, 11); `glibc` as (2, 36), None where the C library is another."""

    python: tuple[int, int]
    architecture: str
    glibc: tuple[int, int] | None

    def __str__(self) -> str:
        library = "without glibc" if self.glibc is None else f"with glibc {_dotted(self.glibc)}"
        return f"Python {_dotted(self.python)} on {self.architecture} {library}"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A library with native code, as its makers published it. `size` in octets."""

    file: str
    sha256: str
    size: int
    name: str
    version: str
    minor: int  # of the Python 3 that it was built for
    is_stable: bool  # newer ones take it too (abi3)
    needs: tuple[tuple[str, tuple[int, int]], ...]  # architectures, each with the oldest glibc there

    @property
    def member(self) -> str:
        """Its name in the archive."""
        return WHEELS + self.file

    def fits(self, machine: Machine) -> bool:
        """Whether that machine can load it."""
        major, minor = machine.python
        is_right_python = major == 3 and (self.minor == minor or (self.is_stable and self.minor < minor))
        return is_right_python and any(
            machine.architecture == architecture and machine.glibc is not None and machine.glibc >= oldest
            for architecture, oldest in self.needs
        )


@dataclass(frozen=True, slots=True)
class Archive:
    """What one `lanpost.pyz` is for, and holds."""

    version: str
    pythons: tuple[tuple[int, int], ...]
    architectures: tuple[str, ...]
    wheels: tuple[Wheel, ...]
    store_format: int = 0  # of data folders (store/formats.py); 0: from before that was told

    def wheels_for(self, machine: Machine) -> tuple[Wheel, ...]:
        """One wheel of each library with native code, the one built for the newest Python that fits."""
        if machine.python not in self.pythons:
            known = ", ".join(_dotted(python) for python in self.pythons)
            raise InvalidArchive(
                f"lanpost {self.version} comes for Python {known}; this is {_dotted(machine.python)}: start it "
                "with one of those, or take another release of lanpost"
            )
        if machine.architecture not in self.architectures:
            known = ", ".join(self.architectures)
            raise InvalidArchive(
                f"lanpost {self.version} comes for {known}; this machine is {machine.architecture}: {_BY_HAND}"
            )
        chosen = []
        for name in sorted({wheel.name for wheel in self.wheels}):
            fitting = [wheel for wheel in self.wheels if wheel.name == name and wheel.fits(machine)]
            if not fitting:
                raise InvalidArchive(f"no {name} in this file is for {machine}: {_BY_HAND}")
            chosen.append(max(fitting, key=lambda wheel: wheel.minor))
        return tuple(chosen)


_BY_HAND = "install lanpost there with pip, from its source"


def read_manifest(data: bytes) -> Archive:
    """The manifest, read. Fields that this version does not know are passed over."""
    try:
        fields = json.loads(data)
        _check_format(fields["format"])
        return Archive(
            _text(fields["version"]),
            tuple(_python(each) for each in fields["pythons"]),
            tuple(_text(each) for each in fields["architectures"]),
            tuple(
                read_wheel(_text(each["file"]), _text(each["sha256"]), each["size"]) for each in fields["wheels"]
            ),
            _number(fields.get("store_format", 0)),
        )
    except InvalidArchive:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidArchive(
            f"{MANIFEST} cannot be read ({type(error).__name__}: {error}): fetch the file anew"
        ) from None


def _check_format(made: Any) -> None:
    if not isinstance(made, int):
        raise TypeError(f"format {made!r} is no number")
    if made > FORMAT:
        raise InvalidArchive(
            f"{MANIFEST} has format {made}, and {FORMAT} is known here: use the file's own program "
            "(python3 FILE ...), or a newer lanpost"
        )


def write_manifest(
    version: str,
    pythons: Sequence[tuple[int, int]],
    architectures: Sequence[str],
    wheels: Sequence[Wheel],
    store_format: int = 0,
) -> bytes:
    """What `read_manifest` reads."""
    listed = [{"file": wheel.file, "sha256": wheel.sha256, "size": wheel.size} for wheel in wheels]
    fields = {
        "format": FORMAT,
        "version": version,
        "pythons": [_dotted(python) for python in pythons],
        "architectures": list(architectures),
        "store_format": store_format,
        "wheels": listed,
    }
    return json.dumps(fields, indent=1).encode() + b"\n"


def read_wheel(file: str, sha256: str, size: int) -> Wheel:
    """A wheel, from its file's name."""
    if not (parts := _WHEEL.match(file)) or not SHA256.match(sha256) or not isinstance(size, int) or size < 0:
        raise InvalidArchive(f"{MANIFEST} names a wheel that is none: {file!r}")
    needs = tuple(sorted({need for tag in parts["at"].split(".") for need in _needs(tag)}))
    minor, is_stable = int(parts["minor"]), parts["abi"] == "abi3"
    return Wheel(file, sha256, size, parts["name"], parts["version"], minor, is_stable, needs)


def _needs(tag: str) -> list[tuple[str, tuple[int, int]]]:
    if found := _GLIBC.match(tag):
        return [(found[3], (int(found[1]), int(found[2])))]
    for prefix, glibc in _OLD_GLIBC.items():
        if tag.startswith(f"{prefix}_"):
            return [(tag.removeprefix(f"{prefix}_"), glibc)]
    return []


def _python(text: Any) -> tuple[int, int]:
    major, minor = _text(text).split(".")
    return int(major), int(minor)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number")
    return value


def _dotted(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))
