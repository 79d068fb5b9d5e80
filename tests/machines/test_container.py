"""The Containerfile, built as it stands and run by podman: not root, healthy once it serves, stopped in order."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.network import PATIENCE, ROOT, run
from tests.machines.machine import TREE, require

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]

BASE, IMAGE = "localhost/debian:12-slim", "localhost/lanpost"
HYBRID = Path("/sys/fs/cgroup/unified")  # of a host with both kinds of control groups, which crun does not take
# What a slim image has not got either.
LEFT_OUT = ("./proc/*", "./sys/*", "./dev/*", *(f"./usr/share/{name}" for name in ("doc", "locale", "man")))
SECONDS = 240.0
# Of a host that may not raise its limits; else podman would.
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=1000:1000")
SEND = """
import smtplib
with smtplib.SMTP("127.0.0.1", 25) as client:
    client.sendmail("me@office.lan", ["anna@office.lan"], "Subject: in\\r\\n\\r\\nx\\r\\n")
"""


class Podman:
    """With images and containers of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        own = [f"--root={folder}/storage", f"--runroot={folder}/run", f"--tmpdir={folder}/tmp"]
        self._command = ["podman", *own, "--runtime=crun", "--cgroup-manager=cgroupfs"]
        if HYBRID.is_mount():
            without = f'umount {HYBRID} && exec "$@"'
            self._command = ["unshare", "--mount", "sh", "-c", without, "podman", *self._command]

    def __call__(self, *words: str | Path) -> str:
        """What it prints; the test fails where it does."""
        done = self.tried(*words)
        assert done.returncode == 0, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def tried(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *words], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def log(self, name: str) -> str:
        """What a container has said, on both its outputs."""
        done = self.tried("logs", name)
        return done.stdout + done.stderr


@pytest.fixture
def podman() -> Iterator[Podman]:
    require()
    if missing := [name for name in ("podman", "crun", "tar") if not shutil.which(name)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = Path(tempfile.mkdtemp(prefix="lanpost-podman-"))  # podman takes no longer path than 50 characters
    one = Podman(folder)
    try:
        yield one
    finally:
        one.tried("rm", "--force", "--all", "--volumes")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network with nobody else in it."""
    name = f"lanpost-container-{os.getpid()}"
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")
    yield name
    run("ip", "netns", "del", name)


@pytest.fixture
def image(podman: Podman, pyz: Path, tmp_path: Path) -> str:
    """Built from the Containerfile, on a Debian 12 that has Python, so that no network is asked for."""
    rootfs, context = tmp_path / "base.tar", tmp_path / "context"
    left_out = [f"--exclude={path}" for path in LEFT_OUT]
    run("tar", "--directory", str(TREE), *left_out, "--create", "--file", str(rootfs), ".")
    podman("import", "--quiet", rootfs, BASE)
    rootfs.unlink()
    (context / "dist").mkdir(parents=True)
    (context / "dist/lanpost.pyz").hardlink_to(pyz)
    for name in ("Containerfile", ".dockerignore"):
        shutil.copyfile(ROOT / name, context / name)
    podman("build", "--format=docker", "--isolation=chroot", "--build-arg", f"BASE={BASE}", "--tag", IMAGE, context)
    return IMAGE


def test_a_container_serves_without_root_and_keeps_its_mail(podman: Podman, image: str, namespace: str) -> None:
    def start(name: str) -> None:
        data, network = "mail:/var/lib/lanpost", f"ns:/run/netns/{namespace}"
        podman(
            *(
                "run",
                "--detach",
                "--name",
                name,
                "--volume",
                data,
                "--network",
                network,
                "--cgroups=disabled",
                *LIMITS,
            ),
            *("--cap-drop=all", "--cap-add=NET_BIND_SERVICE", "--read-only", "--security-opt=no-new-privileges"),
            image,
        )

    start("first")
    wait_until_healthy(podman, "first")
    assert podman("exec", "first", "id", "--user") == "825\n"
    podman("exec", "first", "sh", "-c", "echo correct horse | lanpost user add anna --password-stdin")
    run("ip", "netns", "exec", namespace, sys.executable, "-c", SEND)
    podman("stop", "--time", "60", "first")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "first") == "0\n"
    assert '"event": "stopped"' in podman.log("first"), "it was told, and ended by itself"
    podman("rm", "first")

    start("second")
    wait_until_healthy(podman, "second")
    found = podman("exec", "second", "sh", "-c", "cat /var/lib/lanpost/mailboxes/anna@office.lan/new/*")
    assert "Subject: in" in found


def wait_until_healthy(podman: Podman, name: str) -> None:
    """By the image's own health check."""
    give_up = time.monotonic() + 2 * PATIENCE
    while podman.tried("healthcheck", "run", name).returncode:
        state = podman("inspect", "--format", "{{.State.Status}}", name)
        assert state == "running\n", podman.log(name)
        assert time.monotonic() < give_up, podman.log(name)
        time.sleep(0.2)
