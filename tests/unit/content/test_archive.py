"""Which wheels a machine needs, by what lanpost-archive.json says of a file."""

from __future__ import annotations

import json

import pytest

from lanpost.content.archive import Archive, Machine, read_manifest, read_wheel, write_manifest
from lanpost.errors import InvalidArchive

SHA256 = "0" * 64
FILES = (
    "uvloop-0.23.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
    "uvloop-0.23.0-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
    "uvloop-0.23.0-cp312-cp312-manylinux_2_28_aarch64.whl",
    "cryptography-50.0.2-cp39-abi3-manylinux_2_28_x86_64.whl",
    "cryptography-50.0.2-cp312-abi3-manylinux_2_34_x86_64.whl",
    "cryptography-50.0.2-cp39-abi3-manylinux_2_28_aarch64.whl",
)
WHEELS = tuple(read_wheel(file, SHA256, 1000) for file in FILES)
ARCHIVE = Archive("0.1.0", ((3, 11), (3, 12)), ("x86_64", "aarch64"), WHEELS, 3)
WRITTEN = write_manifest(ARCHIVE.version, ARCHIVE.pythons, ARCHIVE.architectures, WHEELS, ARCHIVE.store_format)
DEBIAN_12 = Machine((3, 11), "x86_64", (2, 36))


def manifest(**changes: object) -> bytes:
    fields = json.loads(WRITTEN)
    return json.dumps(fields | changes).encode()


def test_one_wheel_of_each_library_is_chosen() -> None:
    chosen = read_manifest(manifest()).wheels_for(DEBIAN_12)
    assert [(wheel.name, wheel.minor) for wheel in chosen] == [("cryptography", 9), ("uvloop", 11)]


def test_a_stable_wheel_serves_newer_pythons_and_the_newest_that_fits_is_taken() -> None:
    archive = read_manifest(manifest())
    assert [wheel.minor for wheel in archive.wheels_for(Machine((3, 12), "x86_64", (2, 36)))] == [12, 12]
    assert [wheel.minor for wheel in archive.wheels_for(Machine((3, 12), "x86_64", (2, 28)))] == [9, 12]
    assert [wheel.minor for wheel in archive.wheels_for(Machine((3, 12), "aarch64", (2, 28)))] == [9, 12]


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Machine((3, 10), "x86_64", (2, 36)), "comes for Python 3.11, 3.12; this is 3.10"),
        (Machine((3, 14), "x86_64", (2, 36)), "comes for Python 3.11, 3.12; this is 3.14"),
        (Machine((3, 11), "riscv64", (2, 36)), "comes for x86_64, aarch64; this machine is riscv64"),
        (Machine((3, 11), "aarch64", (2, 36)), "no uvloop in this file is for Python 3.11 on aarch64"),
        (Machine((3, 11), "x86_64", (2, 17)), "no cryptography in this file is for .* with glibc 2.17"),
        (Machine((3, 11), "x86_64", None), "without glibc"),
    ],
)
def test_a_machine_that_nothing_fits_is_told_so(machine: Machine, said: str) -> None:
    with pytest.raises(InvalidArchive, match=said):
        read_manifest(manifest()).wheels_for(machine)


def test_what_is_written_is_read() -> None:
    assert read_manifest(WRITTEN) == ARCHIVE


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert read_manifest(manifest(later={"a": 1})) == ARCHIVE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "cannot be read .*format"),
        (manifest(format=2), "format 2, and 1 is known here"),
        (manifest(pythons=["3"]), "cannot be read"),
        (manifest(store_format="1"), "cannot be read"),
        (manifest(version=1), "cannot be read .*1 is no text"),
        (manifest(wheels=[{"file": "../x.whl", "sha256": SHA256, "size": 1}]), "a wheel that is none: '../x.whl'"),
        (manifest(wheels=[{"file": FILES[0], "sha256": "x", "size": 1}]), "a wheel that is none"),
        (manifest(wheels=[{"file": FILES[0], "sha256": SHA256, "size": "1"}]), "a wheel that is none"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_with_the_reason(content: bytes, said: str) -> None:
    with pytest.raises(InvalidArchive, match=said):
        read_manifest(content)
