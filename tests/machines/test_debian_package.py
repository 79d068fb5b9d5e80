"""The Debian package, installed, upgraded and removed by dpkg on a real Debian without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.built_file import shared_folder
from tests.machines.callers import Caller, Callers, be_greeted_by_pop3, hand_in_a_mail
from tests.machines.debian_package import DebianMachine, built_package
from tests.machines.machine import Machine
from tests.machines.test_install import DOES_NOT_SERVE

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]

LATER = "0.2.0"
# Backups of its user files that Debian's own tools keep, and what systemd notes of a service that has run.
NOT_OURS = re.compile(
    r"/etc/(passwd|group|shadow|gshadow)-|/var/lib/(dpkg|systemd|apt)/.*|/var/cache/.*|/etc/\.pwd\.lock"
)


@pytest.fixture(scope="session")
def package(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_package(pyz, shared_folder(tmp_path_factory) / "lanpost-deb")


@pytest.fixture(scope="session")
def later(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_package(pyz, shared_folder(tmp_path_factory) / "lanpost-deb-later", LATER)


def test_it_serves_is_upgraded_under_load_and_leaves_nothing_when_purged(
    machine: Machine, package: Path, later: Path
) -> None:
    host = DebianMachine(machine, package, later)
    before = host.files()
    host.install(package)
    assert (host.state("is-active"), host.state("is-enabled")) == ("active", "enabled")
    assert host.lanpost("status", "--ready") == "ready\n"
    host.add_person("anna")
    host.send("anna@office.lan", "in and out")
    assert host.subjects("anna@office.lan") == ["in and out"]
    host.lanpost("terminal", "add", "fax1")
    host.send("fax1@office.lan", "held")
    machine.write("/etc/lanpost/lanpost.toml", 'domain = "office.lan"\n[limits]\nconnections_per_client = 2000\n')
    machine.run("systemctl", "restart", "lanpost")

    mails = Caller(host.address, 25, hand_in_a_mail, 0.1)
    readers = Caller(host.address, 110, be_greeted_by_pop3, 0.2)
    with Callers(mails, readers):
        host.install(later)
        served = len(mails.waited) + 5
        machine.wait_until(lambda: len(mails.waited) > served, "clients after the upgrade")
    assert mails.failed == readers.failed == []
    assert len(host.subjects("anna@office.lan")) == 1 + len(mails.waited)
    assert machine.read("/etc/lanpost/lanpost.toml").endswith("= 2000\n"), "dpkg keeps what people wrote"
    assert host.lanpost_json("version")["lanpost"] == LATER
    assert '"address": "fax1@office.lan"' in host.lanpost("queue", "list", "--json"), "held mail is there"
    assert sorted(path.name for path in machine.root.glob("usr/lib/lanpost/*")) == [LATER, "current", "lanpost.pyz"]

    host.dpkg("--remove", "lanpost")
    assert machine.exists("/var/lib/lanpost/mailboxes/anna@office.lan")
    assert machine.exists("/etc/lanpost/lanpost.toml")
    assert not machine.exists("/usr/lib/lanpost")
    host.dpkg("--purge", "lanpost")
    assert {name for name in host.files() ^ before if not NOT_OURS.fullmatch(name)} == set()
    assert "lanpost" not in machine.read("/etc/passwd") + machine.read("/etc/group")


@pytest.fixture
def faulty(pyz: Path, tmp_path: Path) -> Path:
    return built_package(pyz, tmp_path / "faulty", "0.3.0", {"lanpost/cli/serve.py": DOES_NOT_SERVE})


def install_by_hand(machine: Machine) -> None:
    """What there is of it for the package to see."""
    machine.run("mkdir", "-p", "/opt/lanpost/0.1.0")
    machine.run("ln", "-s", "0.1.0", "/opt/lanpost/current")


def test_beside_an_installation_by_hand_it_is_refused(machine: Machine, package: Path) -> None:
    host = DebianMachine(machine, package)
    install_by_hand(machine)
    assert "run `lanpost uninstall`" in host.try_to_install(package)
    assert not machine.exists("/usr/lib/lanpost")


def test_held_port_is_said_another_python_is_taken_up_and_a_purge_spares_what_another_has(
    machine: Machine, package: Path
) -> None:
    host = DebianMachine(machine, package)
    machine.run("systemd-run", "--quiet", "--unit=another", "python3", "-m", "http.server", "25")
    machine.wait_until(lambda: bool(machine.run("ss", "-Hltn", "sport = :25")), "the other server")
    said = host.install(package)
    assert re.search(r"serve is not started: port 25 is held by python3 \(pid \d+\): stop it", said)
    assert (host.state("is-active"), host.state("is-enabled")) == ("inactive", "enabled")
    said = machine.run("python3", "/usr/lib/lanpost/lanpost.pyz", "install", check=False)
    assert "lanpost is here as a Debian package" in said
    machine.run("systemctl", "stop", "another")

    # As if Debian's Python had been 3.9 until now.
    program = "/usr/lib/lanpost/0.1.0/bin/lanpost"
    machine.write(program, machine.read(program).replace("!= (3, 11)", "!= (3, 9)"), 0o755)
    assert "run `sudo dpkg-reconfigure lanpost`" in machine.run("lanpost", "version", check=False)
    machine.run("dpkg-trigger", "--no-await", "--by-package=python3-minimal", "/usr/bin/python3")
    host.dpkg("--configure", "--pending")
    assert host.lanpost("status", "--ready") == "ready\n"

    # Installed by hand after the package was removed: then data are that one's.
    host.dpkg("--remove", "lanpost")
    install_by_hand(machine)
    host.dpkg("--purge", "lanpost")
    assert machine.exists("/var/lib/lanpost/format.json")
    assert "lanpost:" in machine.read("/etc/passwd")


def test_a_version_that_cannot_serve_here_leaves_the_one_before_serving(
    machine: Machine, package: Path, later: Path, faulty: Path
) -> None:
    host = DebianMachine(machine, package, later, faulty)
    host.install(later)
    data = "/var/lib/lanpost/format.json"
    written = machine.read(data)
    machine.write(data, re.sub(r'("format": *)\d+', r"\g<1>99", written), 0o600)
    machine.run("chown", "lanpost:", data)
    said = host.try_to_install(package)
    assert "does not take the configuration or the data here" in said
    assert "of format 99" in said
    assert (host.status(), host.state("is-active")) == ("iF 0.1.0", "active")
    machine.write(data, written, 0o600)
    machine.run("chown", "lanpost:", data)
    assert host.lanpost_json("status")["version"] == LATER

    said = host.try_to_install(faulty)
    assert "this version has a fault" in said, "the last words of the new one"
    assert f"Gone back to {LATER}, which runs again" in said
    assert (host.status(), host.lanpost_json("status")["version"]) == ("iF 0.3.0", LATER)
    assert machine.run("lanpost", "version").startswith(f"lanpost {LATER} ")
