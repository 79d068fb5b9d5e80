"""Installing, going back and removing below a root of the test's own: no service is started there."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.light_archive import SOURCE, light_archive

from lanpost.app.config import parse
from lanpost.app.default_file import default_file
from lanpost.app.installing import Wish, install
from lanpost.app.rolling_back import roll_back
from lanpost.app.settings import Settings
from lanpost.app.uninstalling import uninstall
from lanpost.errors import InstallationError, StoreBusy, StoreError
from lanpost.model.role import Role
from lanpost.store.formats import FILE_NAME
from lanpost.store.installation import Installation, only_one

UNITS = "/etc/systemd/system"
STEPS = 7  # lines that an upgrade says
KILLED = """
import os, signal, sys
from pathlib import Path
from lanpost.app.installing import Wish, install
from lanpost.store.installation import Installation
os.fsync = os.sync = lambda *_: None
left = [int(sys.argv[3])]
def say(_):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
install(Installation(Path(sys.argv[1])), Path(sys.argv[2]), Wish(), say)
"""


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a busy machine takes seconds for that, and none of these tests pulls the plug."""
    for name in ("fsync", "sync"):
        monkeypatch.setattr(os, name, lambda *_: None)


@pytest.fixture
def there(tmp_path: Path) -> Installation:
    """The image of a system with systemd, and nothing of ours in it yet."""
    root = tmp_path / "root"
    for folder in ("usr/lib/systemd", "etc"):
        (root / folder).mkdir(parents=True)
    (root / "usr/lib/systemd/systemd").touch()
    return Installation(root)


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return light_archive(tmp_path_factory.mktemp("first"), "1.0")


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return light_archive(tmp_path_factory.mktemp("second"), "2.0")


@pytest.fixture(scope="session")
def image_of_first(tmp_path_factory: pytest.TempPathFactory, first: Path) -> Path:
    root = tmp_path_factory.mktemp("image")
    (root / "usr/lib/systemd").mkdir(parents=True)
    (root / "usr/lib/systemd/systemd").touch()
    put(Installation(root), first)
    return root


@pytest.fixture
def with_first(tmp_path: Path, image_of_first: Path) -> Installation:
    """An image with 1.0 in it, as a mail server."""
    shutil.copytree(image_of_first, tmp_path / "with-first", symlinks=True)
    return Installation(tmp_path / "with-first")


def put(there: Installation, archive: Path, *roles: Role, domain: str | None = None) -> list[str]:
    """What was said meanwhile."""
    said: list[str] = []
    install(there, archive, Wish(roles, domain), said.append)
    return said


def version_started(there: Installation) -> str:
    """What the installed command calls itself. `current` leads into the image, so it is followed by hand."""
    current = there.current()
    assert current
    program = there.folder(current) / "bin/lanpost"
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=True, cwd="/", env={})
    return done.stdout.split()[1]


def hidden_in(there: Installation) -> list[str]:
    return [path.name for path in there.programs.iterdir() if path.name.startswith(".")]


def test_what_is_installed_starts_and_has_everything_around_it(there: Installation, first: Path) -> None:
    put(there, first, domain="site.lan")
    assert version_started(there) == "1.0"
    assert there.command.readlink() == Path("/opt/lanpost/current/bin/lanpost")
    assert tomllib.loads(there.configuration.read_text())["domain"] == "site.lan"
    assert there.place("/var/lib/lanpost").stat().st_mode & 0o777 == 0o700
    unit = there.place(f"{UNITS}/lanpost.service").read_text()
    assert "ExecStart=/opt/lanpost/current/bin/lanpost serve\n" in unit
    wanted = there.place(f"{UNITS}/multi-user.target.wants/lanpost.service")
    assert wanted.readlink() == Path(f"{UNITS}/lanpost.service")
    assert (there.folder("1.0") / "lanpost.pyz").read_bytes() == first.read_bytes()
    page = gzip.decompress((there.folder("1.0") / "share/man/lanpost.1.gz").read_bytes()).decode()
    assert ".SS lanpost install" in page
    for name, what in (
        ("bash-completion/lanpost", "complete -o"),
        ("zsh/_lanpost", "#compdef"),
        ("fish/lanpost.fish", "complete"),
    ):
        assert what in (there.folder("1.0") / "share" / name).read_text()


def test_an_upgrade_keeps_configuration_data_roles_and_the_version_before(
    there: Installation, first: Path, second: Path
) -> None:
    put(there, first, Role.DIRECTORY)
    put(there, first, Role.AGENT)
    there.configuration.write_text('domain = "mine.lan"\n')
    put(there, second)
    assert (there.current(), there.previous()) == ("2.0", "1.0")
    assert version_started(there) == "2.0"
    assert there.configuration.read_text() == 'domain = "mine.lan"\n'
    assert sorted(path.name for path in there.place(UNITS).glob("*.service")) == [
        "lanpost-agent.service",
        "lanpost-directory.service",
    ]


def test_only_two_versions_are_kept(there: Installation, first: Path, second: Path, tmp_path: Path) -> None:
    for archive in (first, second, light_archive(tmp_path, "3.0")):
        put(there, archive)
    assert there.versions() == ["2.0", "3.0"]
    assert hidden_in(there) == []


def test_installing_the_same_version_again_repairs_it(with_first: Installation, first: Path) -> None:
    (with_first.folder("1.0") / "lib/lanpost/__init__.py").unlink()
    (with_first.folder("1.0") / "bin/lanpost").write_text("broken")
    put(with_first, first)
    assert version_started(with_first) == "1.0"
    assert with_first.previous() is None
    assert hidden_in(with_first) == []


@pytest.mark.parametrize("steps", range(STEPS))
def test_an_upgrade_that_is_killed_leaves_one_that_starts_and_is_completed_by_a_repeat(
    with_first: Installation, second: Path, steps: int
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, with_first.root, second, str(steps)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert version_started(with_first) in ("1.0", "2.0")
    said = put(with_first, second)
    assert len(said) == STEPS
    assert (with_first.current(), with_first.previous()) == ("2.0", "1.0")
    assert version_started(with_first) == "2.0"
    assert hidden_in(with_first) == []


def test_rollback_goes_back_and_forward_again(with_first: Installation, second: Path) -> None:
    put(with_first, second)
    unit = with_first.place(f"{UNITS}/lanpost.service")
    text = unit.read_text()
    (with_first.folder("1.0") / "share/systemd/lanpost.service").write_text("the unit of 1.0")
    roll_back(with_first, lambda _: None)
    assert (with_first.current(), with_first.previous()) == ("1.0", "2.0")
    assert version_started(with_first) == "1.0"
    assert unit.read_text() == "the unit of 1.0"
    roll_back(with_first, lambda _: None)
    assert (with_first.current(), with_first.previous()) == ("2.0", "1.0")
    assert unit.read_text() == text


def test_rollback_goes_on_where_one_was_broken_off(with_first: Installation, second: Path) -> None:
    put(with_first, second)
    with_first.set_unproven("2.0")
    with_first.set_current("1.0")
    roll_back(with_first, lambda _: None)
    assert (with_first.current(), with_first.previous(), with_first.unproven()) == ("1.0", "2.0", None)


def test_rollback_goes_back_from_an_installation_that_was_broken_off(
    with_first: Installation, second: Path, tmp_path: Path
) -> None:
    put(with_first, second)
    put(with_first, light_archive(tmp_path, "3.0"))
    with_first.set_previous("1.0")
    with_first.set_unproven("2.0")
    roll_back(with_first, lambda _: None)
    assert (with_first.current(), with_first.previous(), with_first.unproven()) == ("2.0", "3.0", None)


def test_rollback_says_why_there_is_nothing_to_go_back_to(there: Installation, first: Path) -> None:
    with pytest.raises(InstallationError, match="nothing is installed"):
        roll_back(there, lambda _: None)
    put(there, first)
    with pytest.raises(InstallationError, match=r"1\.0 is the only version here"):
        roll_back(there, lambda _: None)


def test_rollback_to_a_version_that_no_longer_starts_changes_nothing(
    with_first: Installation, second: Path
) -> None:
    put(with_first, second)
    (with_first.folder("1.0") / "lib/lanpost/__main__.py").unlink()
    with pytest.raises(InstallationError, match=r"1\.0 does not start here any more: (.|\n)*__main__"):
        roll_back(with_first, lambda _: None)
    assert with_first.current() == "2.0"


def test_nothing_is_put_before_a_data_folder_that_is_too_new_for_it(
    with_first: Installation, first: Path, second: Path
) -> None:
    put(with_first, second)
    newer = {"format": 99, "program": "7.0"}
    (with_first.place("/var/lib/lanpost") / FILE_NAME).write_text(json.dumps(newer))
    with pytest.raises(InstallationError, match=r"nothing is changed: .*format 99"):
        roll_back(with_first, lambda _: None)
    with pytest.raises(InstallationError, match="format 99"):
        put(with_first, first)
    assert (with_first.current(), with_first.previous()) == ("2.0", "1.0")


def test_a_version_that_does_not_start_is_never_put_in_force(with_first: Installation, tmp_path: Path) -> None:
    broken = light_archive(tmp_path, "2.0", {"lanpost/cli/completion.py": "raise SystemExit('no way')"})
    with pytest.raises(InstallationError, match="the new version does not start here: no way"):
        put(with_first, broken)
    assert (with_first.current(), with_first.versions(), hidden_in(with_first)) == ("1.0", ["1.0"], [])


def test_a_damaged_file_is_named_and_nothing_is_touched(there: Installation, first: Path, tmp_path: Path) -> None:
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "lanpost.pyz"
    damaged.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        put(there, damaged)
    assert not there.programs.exists()


def test_a_link_to_a_checkout_is_replaced_and_another_program_is_not(there: Installation, first: Path) -> None:
    there.command.parent.mkdir(parents=True)
    there.command.write_text("somebody's")
    with pytest.raises(InstallationError, match="lanpost is there already and is no link of an installation"):
        put(there, first)
    assert there.command.read_text() == "somebody's"
    there.command.unlink()
    there.command.symlink_to("/srv/checkout/.venv/bin/lanpost")
    put(there, first)
    assert there.command.readlink() == Path("/opt/lanpost/current/bin/lanpost")


def test_two_at_once_do_not_get_in_each_others_way(with_first: Installation, second: Path) -> None:
    with only_one(with_first), pytest.raises(StoreBusy, match="just now; wait for it"):
        put(with_first, second)
    assert with_first.versions() == ["1.0"]


def test_a_mail_server_and_a_directory_on_one_machine_are_refused(there: Installation, first: Path) -> None:
    put(there, first, Role.SERVE)
    with pytest.raises(InstallationError, match=r"serve has registrar and directory inside: set ldap\.listen"):
        put(there, first, Role.DIRECTORY)
    assert not there.place(f"{UNITS}/lanpost-directory.service").exists()


def test_a_domain_is_not_put_over_the_one_in_the_configuration(there: Installation, first: Path) -> None:
    put(there, first, domain="one.lan")
    with pytest.raises(InstallationError, match=r'says domain = "one\.lan": change it there'):
        put(there, first, domain="other.lan")
    put(there, first, domain="ONE.lan")


def test_uninstall_leaves_data_and_configuration_unless_purged(there: Installation, first: Path) -> None:
    said: list[str] = []
    put(there, first)
    data = there.place("/var/lib/lanpost")
    (data / "mail").touch()
    uninstall(there, [], said.append)
    assert not there.programs.exists()
    assert not os.path.lexists(there.command)
    assert [path for path in there.root.rglob("*lanpost*") if path.is_symlink()] == []
    assert not there.place(f"{UNITS}/lanpost.service").exists()
    assert (data / "mail").exists()
    assert any(str(there.configuration) in line and str(data) in line for line in said)
    put(there, first)
    there.configuration.write_text('data = "/srv/mails"\n')
    there.place("/srv/mails").mkdir(parents=True)
    uninstall(there, [], said.append, purge=True)
    assert list(there.root.rglob("*lanpost*")) == []
    assert "kept: /srv/mails, which the configuration names: remove it by hand" in said


def test_what_is_not_ours_beside_the_versions_is_never_removed(
    with_first: Installation, second: Path, tmp_path: Path
) -> None:
    mail = with_first.programs / "data/mailboxes/anna/mail"
    mail.parent.mkdir(parents=True)
    mail.touch()
    with_first.configuration.write_text('data = "/opt/lanpost/data"\n')
    put(with_first, second)
    put(with_first, light_archive(tmp_path, "3.0"))
    assert with_first.versions() == ["2.0", "3.0"]
    assert mail.exists()
    said: list[str] = []
    uninstall(with_first, [], said.append, purge=True)
    assert mail.exists()
    assert [path.name for path in with_first.programs.iterdir()] == ["data"]
    assert any(str(with_first.programs / "data") in line for line in said if line.startswith("kept"))


def test_a_purge_does_not_follow_a_link_in_the_data_folders_place(with_first: Installation) -> None:
    data, disk = with_first.place("/var/lib/lanpost"), with_first.place("/srv/mail")
    disk.mkdir(parents=True)
    (disk / "mail").touch()
    data.rmdir()
    data.symlink_to(disk)
    said: list[str] = []
    uninstall(with_first, [], said.append, purge=True)
    assert (disk / "mail").exists()
    assert not data.is_symlink()
    assert not with_first.configuration.exists()
    assert any(str(disk) in line for line in said if line.startswith("kept"))


def test_a_purge_leaves_a_person_who_is_called_as_the_service_is(with_first: Installation) -> None:
    accounts = with_first.place("/etc/passwd")
    accounts.write_text("root:x:0:0::/root:/bin/sh\nlanpost:x:1000:1000::/home/lanpost:/bin/sh\n")
    uninstall(with_first, [], lambda _: None, purge=True)
    assert "lanpost:x:1000" in accounts.read_text()


def test_uninstalling_one_role_leaves_the_other(there: Installation, first: Path) -> None:
    put(there, first, Role.SERVE)
    put(there, first, Role.AGENT)
    with pytest.raises(InstallationError, match="serve needs configuration and data"):
        uninstall(there, [Role.AGENT], lambda _: None, purge=True)
    uninstall(there, [Role.AGENT], lambda _: None)
    assert version_started(there) == "1.0"
    assert [path.name for path in there.place(UNITS).glob("*.service")] == ["lanpost.service"]
    with pytest.raises(InstallationError, match="no service agent is installed here; there is: serve"):
        uninstall(there, [Role.AGENT], lambda _: None)


def test_without_systemd_init_scripts_are_written(tmp_path: Path, first: Path) -> None:
    there = Installation(tmp_path / "root")
    scripts, rotation = there.place("/etc/init.d"), there.place("/etc/logrotate.d")
    scripts.mkdir(parents=True)
    rotation.mkdir()
    put(there, first, Role.AGENT)
    assert "/var/log/lanpost-*.log" in (rotation / "lanpost").read_text()
    script = scripts / "lanpost-agent"
    assert 'exec /opt/lanpost/current/bin/lanpost service "$1" agent\n' in script.read_text()
    assert script.stat().st_mode & 0o777 == 0o755
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def test_busyboxs_init_finds_its_script_by_a_number(tmp_path: Path, first: Path) -> None:
    there = Installation(tmp_path / "root")
    scripts = there.place("/etc/init.d")
    scripts.mkdir(parents=True)
    for name in ("rcS", "S40network"):
        (scripts / name).touch()
    put(there, first)
    assert (scripts / "S90lanpost").exists()
    uninstall(there, [], lambda _: None)
    assert sorted(path.name for path in scripts.iterdir()) == ["S40network", "rcS"]


def test_where_nobody_starts_services_one_is_told_how(tmp_path: Path, first: Path) -> None:
    left = install(Installation(tmp_path / "root"), first, Wish((Role.AGENT,)), lambda _: None)
    assert "start it with `/opt/lanpost/current/bin/lanpost agent`" in left[0]


def test_the_first_configuration_says_every_default(tmp_path: Path) -> None:
    text = default_file("site.lan")
    assert parse(text, tmp_path / "x.toml").domain == "site.lan"
    spoken = "\n".join(uncommented(text.splitlines()))
    assert "hostname" in tomllib.loads(spoken)
    read = parse(spoken, Path("/etc/lanpost/lanpost.toml"))
    for name in Settings.__dataclass_fields__:
        if name not in ("domain", "file"):
            assert getattr(read, name) == getattr(Settings(), name), name


def uncommented(lines: Sequence[str]) -> list[str]:
    """Every setting that stands behind a #; sentences stay comments."""
    return [line[2:] if line.startswith("# ") and " = " in line else line for line in lines]
