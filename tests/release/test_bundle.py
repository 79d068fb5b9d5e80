"""`lanpost bundle` straight from lanpost.pyz: what lies on the stick then, and what is said when it cannot be."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.conftest import in_ci

PATIENCE = 60.0
OTHERS = ["env", "PATH=/usr/bin:/bin"]  # a Python that is not in somebody's home


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory, pyz: Path) -> Path:
    """One as it should be, signed by a key of somebody's."""
    folder = tmp_path_factory.mktemp("stick")
    key = tmp_path_factory.mktemp("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    said = bundle(pyz, folder, "--sign", str(key)).stdout
    assert f"signed by {key}" in said
    return folder


def bundle(pyz: Path, folder: Path, *words: str, within: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """As on a machine where nothing but Python is installed."""
    return subprocess.run(
        [*within, "python3", "-I", "-S", str(pyz), "bundle", str(folder), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def refused(pyz: Path, folder: Path, *words: str, within: Sequence[str] = ()) -> str:
    done = bundle(pyz, folder, *words, within=within)
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_every_file_is_as_the_sums_say(stick: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=stick, check=True)
    told = {line.split("  ", 1)[1] for line in (stick / "SHA256SUMS").read_text().splitlines()}
    there = {str(path.relative_to(stick)) for path in stick.rglob("*") if path.is_file()}
    assert there == told | {"SHA256SUMS"}
    assert there >= {"lanpost.pyz", "READ-ME.txt", "lanpost.cdx.json", "documentation/index.html"}
    assert "licences/lanpost/LICENSE" in there


def test_no_two_names_are_one_where_case_does_not_count(stick: Path) -> None:
    names = [str(path.relative_to(stick)).casefold() for path in stick.rglob("*")]
    assert len(set(names)) == len(names)


def test_the_lines_that_the_read_me_shows_check_the_stick(stick: Path) -> None:
    lines = [line.strip() for line in (stick / "READ-ME.txt").read_text().splitlines()]
    checks = [line for line in lines if line.startswith(("sha256sum ", "ssh-keygen "))]
    assert len(checks) == 2
    for check in checks:
        subprocess.run(["sh", "-ec", check], cwd=stick, check=True, capture_output=True)


def test_what_is_there_is_left_and_what_is_broken_is_mended(stick: Path, pyz: Path, tmp_path: Path) -> None:
    shutil.copytree(stick, tmp_path / "stick")
    before = (tmp_path / "stick" / "lanpost.pyz").stat().st_mtime_ns
    (tmp_path / "stick" / "lanpost.cdx.json").write_text("{}")
    (tmp_path / "stick" / "documentation" / "index.html").unlink()
    (tmp_path / "stick" / "own-notes.txt").write_text("stays")
    done = bundle(pyz, tmp_path / "stick")
    assert (done.returncode, "not signed" in done.stderr) == (0, True)
    assert (
        "4 files written and read back" in done.stdout
    )  # those two, and READ-ME and sums, without a signature now
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "stick", check=True)
    assert (tmp_path / "stick" / "lanpost.pyz").stat().st_mtime_ns == before
    assert (tmp_path / "stick" / "own-notes.txt").read_text() == "stays"


def test_one_that_is_killed_half_way_leaves_no_sums_and_is_said_again(pyz: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    running = subprocess.Popen(["python3", "-I", "-S", pyz, "bundle", folder], stdout=subprocess.DEVNULL)
    give_up = time.monotonic() + PATIENCE
    while not (folder / "documentation").exists():
        assert time.monotonic() < give_up
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (folder / "SHA256SUMS").exists()
    assert bundle(pyz, folder).returncode == 0
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert not list(folder.rglob("*.part"))


def mounted(options: str, folder: Path) -> list[str]:
    """A command behind which a file system of its own lies at `folder`, seen by nobody else."""
    within = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o "$1" t "$2" && shift 2 && exec "$@"', "sh"]
    within += [options, str(folder)]
    reason = ""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        reason = "only root can mount a stick"
    elif (tried := subprocess.run([*within, "true"], capture_output=True, text=True, check=False)).returncode:
        reason = tried.stderr
    if reason and in_ci():
        pytest.fail(f"no stick, which CI does not take: {reason}")
    elif reason:
        pytest.skip(f"no stick can be mounted here: {reason}")
    return within


def test_a_stick_that_is_too_small_is_told_of_before_anything_is_written(pyz: Path, tmp_path: Path) -> None:
    said = refused(pyz, tmp_path, within=mounted("size=20m", tmp_path))
    assert "MB are needed there, and 21 MB are free: make room, or take another stick" in said


def test_a_stick_without_room_for_names_is_full(pyz: Path, tmp_path: Path) -> None:
    said = refused(pyz, tmp_path, within=mounted("size=200m,nr_inodes=20", tmp_path))
    assert "is full: make room or take another stick, and say the same again" in said


def test_a_stick_that_can_only_be_read_is_told_of(pyz: Path, tmp_path: Path) -> None:
    assert "can only be read" in refused(pyz, tmp_path, within=mounted("size=200m,ro", tmp_path))


def test_a_stick_that_is_not_mounted_does_not_fill_this_disk(pyz: Path, tmp_path: Path) -> None:
    assert "is the stick mounted?" in refused(pyz, tmp_path / "media" / "stick")
    assert not (tmp_path / "media").exists()


def test_a_folder_of_somebody_elses_is_told_of(pyz: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not Path("/usr/bin/python3").exists():
        pytest.skip("only root can be somebody else, and that one needs a Python that all may run")
    # Pytest's own folders are for one user only.
    place = Path("/tmp") / f"lanpost-{os.getpid()}-{tmp_path.name}.pyz"
    shutil.copyfile(pyz, place)
    try:
        said = refused(place, Path("/var/lib"), within=["setpriv", "--reuid=65534", "--clear-groups", *OTHERS])
    finally:
        place.unlink()
    assert "you may not write there: say it with sudo" in said


def test_a_damaged_file_is_not_passed_on(pyz: Path, tmp_path: Path) -> None:
    whole = pyz.read_bytes()
    (tmp_path / "cut.pyz").write_bytes(whole[:-1000])
    (tmp_path / "bit.pyz").write_bytes(whole[:30_000_000] + bytes([whole[30_000_000] ^ 1]) + whole[30_000_001:])
    (tmp_path / "none.pyz").write_bytes(b"")
    for name in ("cut.pyz", "bit.pyz", "none.pyz"):
        said = refused(pyz, tmp_path / "stick", "--file", str(tmp_path / name))
        assert f"{name} is damaged" in said or "cut short" in said
        assert "fetch or copy it anew" in said
        assert not (tmp_path / "stick").exists()


def test_a_key_that_is_none_is_told_of(pyz: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    (tmp_path / "key").chmod(0o600)
    assert "ssh-keygen does not sign with that key" in refused(pyz, tmp_path / "s", "--sign", str(tmp_path / "key"))
    assert "none" in refused(pyz, tmp_path / "s", "--sign", str(tmp_path / "none"))
