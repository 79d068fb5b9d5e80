"""`lanpost push` against a real sshd on another machine: what is there, what is said, what is left."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.network import PATIENCE, Lab, Program, require
from tests.lab.ssh_host import SUDO_PASSWORD, VERSION, SshLab, small_file, told

pytestmark = pytest.mark.lab
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshLab]:
    require()
    with Lab(tmp_path_factory.mktemp("push")) as lab:
        yield SshLab(lab)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_file(tmp_path_factory.mktemp("file") / "lanpost.pyz", octets=200_000)


@pytest.fixture
def ssh(machines: SshLab) -> Iterator[SshLab]:
    """The same machines, with nothing on the server from tests before."""
    yield machines
    machines.limit("")
    for path in machines.root.iterdir():
        shutil.rmtree(path)


def test_the_file_arrives_whole_and_installs_itself(ssh: SshLab, file: Path) -> None:
    said = ssh.push("mail-host", file)
    assert "ready: install --role serve --root" in said
    assert f"done: lanpost {VERSION} for serve is in force" in said
    assert (ssh.root / "opt/lanpost" / VERSION / "lanpost.pyz").read_bytes() == file.read_bytes()
    assert not list((ssh.root / "opt/lanpost/.push").glob("*.p*"))


def test_its_publishers_signature_goes_along(ssh: SshLab, tmp_path: Path) -> None:
    file = small_file(tmp_path / "lanpost.pyz")
    file.with_name("lanpost.pyz.publisher.sig").write_text("-----BEGIN SSH SIGNATURE-----\n")
    said = ssh.push("mail-host", file)
    assert re.search("^mail-host  signed$", said, re.MULTILINE), said
    assert [path.name for path in (ssh.root / "opt/lanpost/.push").iterdir()] == ["lock"]


def test_what_is_there_is_not_sent_again(ssh: SshLab, file: Path) -> None:
    (first,) = told(ssh.push("mail-host", file, "--json"))
    assert (first["octets"], first["before"]) == (file.stat().st_size, None)
    (second,) = told(ssh.push("mail-host", file, "--json"))
    assert (second["octets"], second["before"]) == (0, VERSION)


def test_whatever_the_login_shell_is_and_says(ssh: SshLab, file: Path) -> None:
    hosts = [f"{user}@mail-host" for user in ("bash", "dash", "csh", "fish", "ash", "noisy")]
    said = ssh.push(" ".join(hosts), file, "--dry-run")
    for host in hosts:
        assert re.search(f"^{host} +would send 0.2 of 0.2 MB", said, re.MULTILINE), said
    assert "Welcome" not in said
    assert "6 of 6 done" in said


def test_a_dry_run_changes_nothing(ssh: SshLab, file: Path) -> None:
    said = ssh.push("mail-host", file, "--dry-run")
    assert f"would send 0.2 of 0.2 MB and install lanpost {VERSION} for serve" in said
    assert not list(ssh.root.iterdir())


FAILURES = {
    "pythonless@mail-host": "there is no python3",
    "old@mail-host": r"its python3 \(\S+\) is 3\.9\.2, and 3\.11 or newer is needed",
    "riscv@mail-host": "this machine is riscv64",
    "shut@mail-host": "whoever logs in there may run no commands",
    "stranger@mail-host": "it lets nobody in with the keys",
    "closed": "no ssh server answers there",
    "changed": r"its host key is another one than before, SHA256:\S+ now: .*ssh-keygen -f .*known_hosts",
    "new": "its host key is not known here",
    "nobody": "it is not to be reached",
    "nameless": "nobody knows where that is: name its IP address",
}


def test_each_failure_says_what_to_do(ssh: SshLab, file: Path) -> None:
    said = ssh.push(" ".join(FAILURES), file, "--jobs", "10", status=1)
    for host, words in FAILURES.items():
        assert re.search(f"^lanpost: {host}: .*{words}", said, re.MULTILINE), said
    assert "0 of 10 done" in said
    assert "Traceback" not in said
    assert not list(ssh.root.iterdir())


def test_an_option_that_ssh_does_not_take_is_said_so(ssh: SshLab, file: Path) -> None:
    said = ssh.push("mail-host", file, "--ssh-option", "Nonsense=yes", status=1)
    assert re.search("lanpost: mail-host: ssh does not take an option: .*nonsense", said)


def test_only_root_may_install(ssh: SshLab, file: Path) -> None:
    here = ("--dry-run", "--root", "")  # at the machine's own /
    said = ssh.push("mail-host", file, "--user", "dash", *here, status=1)
    assert re.search(r"we log in there as user \d+, and only root may install: .*--sudo", said)
    said = ssh.push("mail-host", file, "--user", "dash", "--sudo", *here, status=1)
    assert "sudo wants a password there: say --ask-sudo" in said


def test_sudo_makes_root(ssh: SshLab, file: Path) -> None:
    ssh.push("mail-host", file, "--user", "trusted", "--sudo")
    assert (ssh.root / "opt/lanpost" / VERSION).stat().st_uid == 0


def test_sudo_is_told_its_password(ssh: SshLab, file: Path) -> None:
    said = ssh.push("mail-host", file, "--user", "asked", "--ask-sudo", given=f"{SUDO_PASSWORD}\n")
    assert (ssh.root / "opt/lanpost" / VERSION).stat().st_uid == 0
    assert SUDO_PASSWORD not in said


def test_a_password_that_sudo_does_not_take_is_said_so(ssh: SshLab, file: Path) -> None:
    said = ssh.push("mail-host", file, "--user", "asked", "--ask-sudo", given="wrong\n", status=1)
    assert "lanpost: mail-host: sudo does not take that password" in said


def test_a_password_that_sudo_does_not_ask_for_goes_nowhere(ssh: SshLab, file: Path) -> None:
    ssh.push("mail-host", file, "--user", "trusted", "--ask-sudo", given=f"{SUDO_PASSWORD}\n")
    assert (ssh.root / "opt/lanpost" / VERSION).stat().st_uid == 0


def test_a_full_disk_is_seen_before_anything_is_sent(ssh: SshLab, tmp_path: Path) -> None:
    file = small_file(tmp_path / "lanpost.pyz", octets=2 * MEGABYTE)
    with ssh.small_disk("1m"):
        said = ssh.push("mail-host", file, status=1)
        assert re.search(r"its disk is too full: about \d+ MB are needed at \S+ and 1 MB are free", said)
        assert ssh.on_server("ls", ssh.root) == ""


def test_a_disk_that_fills_up_meanwhile_gets_back_what_was_taken(ssh: SshLab, tmp_path: Path) -> None:
    file = small_file(tmp_path / "lanpost.pyz", octets=2 * MEGABYTE)
    with ssh.small_disk("1m"):
        said = ssh.push("mail-host", file, "--user", "full", status=1)
        assert "No space left on device" in said
        assert "make room there and push again" in said
        assert ssh.on_server("ls", ssh.root / "opt/lanpost/.push") == "lock\n"


# -- interrupted


@pytest.fixture
def big(ssh: SshLab, tmp_path: Path) -> Path:
    """A file that takes some seconds to send."""
    ssh.limit("16mbit")
    return small_file(tmp_path / "lanpost.pyz", octets=8 * MEGABYTE)


def half_way(ssh: SshLab, program: Program) -> None:
    """Return when some of the file is there."""
    give_up = time.monotonic() + PATIENCE
    while not (ssh.parts and ssh.parts[0].stat().st_size > MEGABYTE):
        assert program.process.poll() is None, program.lines
        assert time.monotonic() < give_up
        time.sleep(0.01)


def ended(ssh: SshLab) -> None:
    """Return when no first stage runs on the server any more."""
    give_up = time.monotonic() + PATIENCE
    while ssh.stages():
        assert time.monotonic() < give_up, ssh.stages()
        time.sleep(0.01)


def test_killed_half_way_it_goes_on_where_it_stopped(ssh: SshLab, big: Path) -> None:
    program = ssh.start_push("mail-host", big)
    half_way(ssh, program)
    program.stop(signal.SIGKILL)
    ssh.limit("")
    ended(ssh)
    assert not (ssh.root / "opt/lanpost/current").exists()
    (result,) = told(ssh.push("mail-host", big, "--json"))
    assert 0 < int(str(result["octets"])) <= big.stat().st_size - MEGABYTE
    assert (ssh.root / "opt/lanpost" / VERSION / "lanpost.pyz").read_bytes() == big.read_bytes()


def test_killed_there_it_is_said_and_goes_on_where_it_stopped(ssh: SshLab, big: Path) -> None:
    program = ssh.start_push("mail-host", big)
    half_way(ssh, program)
    for pid in ssh.stages():
        os.kill(pid, signal.SIGKILL)
    program.wait_for("lanpost: mail-host: the connection broke.*: push again, it goes on from there")
    assert program.process.wait(PATIENCE) == 1
    ssh.limit("")
    (result,) = told(ssh.push("mail-host", big, "--json"))
    assert 0 < int(str(result["octets"])) <= big.stat().st_size - MEGABYTE


def test_ctrl_c_stops_it_everywhere(ssh: SshLab, big: Path) -> None:
    program = ssh.start_push("mail-host directory-host", big)
    half_way(ssh, program)
    assert program.stop(signal.SIGINT) == 1
    said = "\n".join(program.lines)  # both names are of one machine, where one push goes on at a time
    assert re.search(
        "^lanpost: (mail|directory)-host: stopped; the same command goes on from there$", said, re.MULTILINE
    )
    assert "Traceback" not in "\n".join(program.lines)
    ended(ssh)
    assert not (ssh.root / "opt/lanpost/current").exists()


def test_a_part_that_is_not_of_this_file_is_not_used(ssh: SshLab, file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    part = ssh.root / f"opt/lanpost/.push/{digest}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    (result,) = told(ssh.push("mail-host", file, "--json"))
    assert result["octets"] == file.stat().st_size


def test_two_at_a_time_to_one_machine_do_not_mix(ssh: SshLab, big: Path) -> None:
    program = ssh.start_push("mail-host", big)
    half_way(ssh, program)
    said = ssh.push("directory-host", big, status=1)
    assert "another push to this machine is going on" in said
    ssh.limit("")
    program.wait_for("is in force")


def test_an_installation_that_has_begun_is_brought_to_its_end(ssh: SshLab, tmp_path: Path) -> None:
    file = small_file(tmp_path / "lanpost.pyz", install="open(root + '/gate').read()")
    os.mkfifo(ssh.root / "gate")
    program = ssh.start_push("mail-host", file)
    with (ssh.root / "gate").open("w"):  # opens when the installation waits there
        program.stop(signal.SIGKILL)
    ended(ssh)
    assert (ssh.root / "opt/lanpost/current").readlink() == Path(VERSION)
    (ssh.root / "gate").unlink()
    (result,) = told(ssh.push("mail-host", small_file(tmp_path / "next.pyz"), "--json"))
    assert result["before"] == VERSION


# -- installed


def test_an_installation_that_fails_is_told_in_its_own_words(ssh: SshLab, file: Path, tmp_path: Path) -> None:
    ssh.push("mail-host", file)
    bad = small_file(tmp_path / "bad.pyz", version="10.0", install="sys.exit('lanpost: port 25 is held by exim4')")
    own = tmp_path / "own.toml"
    own.write_text('domain = "ward.lan"\n')
    said = ssh.push("mail-host", bad, "--config", own, status=1)
    assert f"lanpost: mail-host: port 25 is held by exim4 (lanpost {VERSION} is in force there)" in said
    assert not (ssh.root / "etc/lanpost/lanpost.toml").exists()


def test_a_configuration_is_written_where_there_is_none_and_never_over_another(
    ssh: SshLab, file: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('domain = "ward.lan"\n')
    assert "/etc/lanpost/lanpost.toml written" in ssh.push("mail-host", file, "--config", own)
    assert (ssh.root / "etc/lanpost/lanpost.toml").read_text() == 'domain = "ward.lan"\n'
    assert "written" not in ssh.push("mail-host", file, "--config", own)
    own.write_text('domain = "floor.lan"\n')
    assert "never overwritten" in ssh.push("mail-host", file, "--config", own, status=1)
    assert (ssh.root / "etc/lanpost/lanpost.toml").read_text() == 'domain = "ward.lan"\n'


def test_the_services_user_reaches_what_a_strict_umask_would_have_closed(
    ssh: SshLab, file: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('domain = "ward.lan"\n')
    ssh.push("strict@mail-host", file, "--config", own)
    for folder in ("opt", "opt/lanpost", "etc", "etc/lanpost"):
        assert (ssh.root / folder).stat().st_mode & 0o777 == 0o755, folder
    assert (ssh.root / "opt/lanpost/.push").stat().st_mode & 0o777 == 0o700


def test_a_configuration_that_nobody_could_use_is_not_sent(ssh: SshLab, file: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("domian = 'ward.lan'\n")
    assert "did you mean domain?" in ssh.push("mail-host", file, "--config", own, status=1)
    assert not list(ssh.root.iterdir())


def test_of_several_machines_each_is_told(ssh: SshLab, file: Path) -> None:
    said = ssh.push("mail-host changed new", file, status=1)
    assert re.search("^mail-host .*done: ", said, re.MULTILINE)
    assert re.search("^lanpost: changed: its host key is another one", said, re.MULTILINE)
    assert re.search("^lanpost: new: its host key is not known", said, re.MULTILINE)
    assert "1 of 3 done" in said


def test_a_connection_that_ssh_shares_and_keeps_is_not_waited_for(ssh: SshLab, file: Path) -> None:
    shared = ["ControlMaster=auto", f"ControlPath={ssh.folder}/shared", "ControlPersist=60"]
    options = [word for option in shared for word in ("--ssh-option", option)]
    try:
        ssh.push("mail-host", file, *options)
        said = ssh.push("mail-host", file, "--sudo", *options, status=1)  # what sudo says is waited for, no longer
        assert "may not become root by sudo" in said
    finally:
        ssh.pusher.run("ssh", "-O", "exit", "-o", f"ControlPath={ssh.folder}/shared", "mail-host")
