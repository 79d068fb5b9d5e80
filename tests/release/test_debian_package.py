"""The Debian package as a file: the same bytes each time, what Debian wants in it, how dpkg sorts its versions."""

from __future__ import annotations

import filecmp
import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from release.debian_package import build, debian_version

pytestmark = pytest.mark.peer

TIME = 1_700_000_000


@pytest.fixture(scope="module")
def package(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg here")
    return build(pyz, tmp_path_factory.mktemp("package"), TIME)


def said(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_two_builds_give_the_same_bytes(package: Path, pyz: Path, tmp_path: Path) -> None:
    old = os.umask(0o077)  # whatever the builder's habits
    try:
        second = build(pyz, tmp_path, TIME)
    finally:
        os.umask(old)
    assert package.name == second.name == "lanpost_0.1.0_all.deb"
    assert filecmp.cmp(package, second, shallow=False)


def test_it_holds_the_file_itself_and_belongs_to_root(package: Path, pyz: Path, tmp_path: Path) -> None:
    assert said("dpkg-deb", "--field", package, "Depends") == "python3 (>= 3.11), python3 (<< 3.14), adduser\n"
    listed = {line.split()[5]: line.split() for line in said("dpkg-deb", "--contents", package).splitlines()}
    assert {entry[1] for entry in listed.values()} == {"root/root"}
    for name, mode in {
        "./usr/lib/lanpost/lanpost.pyz": "-rwxr-xr-x",
        "./usr/bin/lanpost": "lrwxrwxrwx",
        "./usr/lib/systemd/system/lanpost.service": "-rw-r--r--",
        "./usr/lib/systemd/system/lanpost-agent.service": "-rw-r--r--",
        "./usr/lib/systemd/system/lanpost-directory.service": "-rw-r--r--",
        "./etc/lanpost/lanpost.toml": "-rw-r--r--",
        "./usr/share/man/man1/lanpost.1.gz": "-rw-r--r--",
        "./usr/share/bash-completion/completions/lanpost": "-rw-r--r--",
        "./usr/share/doc/lanpost/copyright": "-rw-r--r--",
        "./usr/share/doc/lanpost/changelog.gz": "-rw-r--r--",
    }.items():
        assert listed[name][0] == mode
    said("dpkg-deb", "--extract", package, tmp_path / "x")
    assert filecmp.cmp(tmp_path / "x/usr/lib/lanpost/lanpost.pyz", pyz, shallow=False)
    assert "ExecStart=/usr/bin/lanpost serve" in (tmp_path / "x/usr/lib/systemd/system/lanpost.service").read_text()


def test_lintian_finds_nothing(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on=error,warning", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dpkg_sorts_versions_as_we_do() -> None:
    if shutil.which("dpkg") is None:
        pytest.skip("no dpkg here")
    ours = ["0.2.0.dev1", "0.2.0a1", "0.2.0b1", "0.2.0rc1", "0.2.0", "0.2.0+trial", "0.2.0.post1", "0.10.0"]
    debian = [debian_version(version) for version in ours]
    for before, after in itertools.pairwise(debian):
        subprocess.run(["dpkg", "--compare-versions", before, "lt", after], check=True)
    with pytest.raises(ValueError, match="no version"):
        debian_version("newest")
