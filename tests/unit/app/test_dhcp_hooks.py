"""The hooks beside DHCP clients: one harmless line where each of them looks, and no more is taken away."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lanpost.app import dhcp_hooks
from lanpost.app.config import parse
from lanpost.content.dhcp_lease import Lease, leases_in
from lanpost.errors import ConfigurationError

FOLDERS = (
    "etc/dhcp/dhclient-exit-hooks.d",
    "etc/udhcpc",
    "etc/networkd-dispatcher/carrier.d",
    "etc/networkd-dispatcher/degraded.d",
    "etc/networkd-dispatcher/routable.d",
    "etc/NetworkManager/dispatcher.d",
)
SHELLS = [shell.split() for shell in ("dash", "bash", "busybox sh") if shutil.which(shell.split()[0])]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with every DHCP client."""
    for folder in FOLDERS:
        (tmp_path / "root" / folder).mkdir(parents=True)
    (tmp_path / "root/etc/udhcpc/default.script").write_text("#!/bin/sh\n")
    return tmp_path / "root"


def files_of(root: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(dhcp_hooks.CLIENTS))
def test_installing_twice_is_installing_once_and_removing_leaves_nothing(root: Path, name: str) -> None:
    before = files_of(root)
    hooks = dhcp_hooks.hooks_for(name, root, Path("/run/hook"))
    for hook in (*hooks, *hooks):
        dhcp_hooks.install(hook)
        assert hook.path.read_text() == hook.text
        assert hook.path.stat().st_mode & 0o777 == hook.mode
    assert files_of(root).keys() - before.keys() == {hook.path for hook in hooks}
    assert all(dhcp_hooks.remove(hook) for hook in hooks)
    assert not any(dhcp_hooks.remove(hook) for hook in hooks)
    assert files_of(root) == before


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: "-".join(shell))
@pytest.mark.parametrize("name", ["dhclient", "dhcpcd"])
@pytest.mark.parametrize("options", ["", "set -eu", "set -C"])
def test_a_sourced_hook_touches_the_file_and_leaves_the_shell_as_it_was(
    root: Path, tmp_path: Path, shell: list[str], name: str, options: str
) -> None:
    (hook,) = dhcp_hooks.hooks_for(name, root, tmp_path / "hook")
    dhcp_hooks.install(hook)
    program = f"{options}\nset > before\n. {hook.path}\necho status $?\nset > after\n"
    done = subprocess.run([*shell, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "status 0\n", "")
    assert (tmp_path / "hook").exists()
    # Shells count commands, time and jobs by themselves.
    itself = ("_=", "LINENO=", "SRANDOM=", "RANDOM=", "SECONDS=", "EPOCH", "BASH_", "PIPESTATUS=", "OPTIND=")
    before, after = (
        [line for line in (tmp_path / file).read_text().splitlines() if not line.startswith(itself)]
        for file in ("before", "after")
    )
    assert before == after


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: "-".join(shell))
def test_a_hook_that_cannot_write_is_silent_and_the_client_goes_on(
    root: Path, tmp_path: Path, shell: list[str]
) -> None:
    (hook,) = dhcp_hooks.hooks_for("dhclient", root, tmp_path / "missing" / "hook")
    dhcp_hooks.install(hook)
    done = subprocess.run([*shell, "-ec", f". {hook.path}; echo on"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")


@pytest.mark.parametrize("name", sorted(dhcp_hooks.CLIENTS))
def test_what_the_network_told_the_client_is_in_no_hook(root: Path, name: str) -> None:
    for hook in dhcp_hooks.hooks_for(name, root, Path("/run/hook")):
        used = {word.strip('";') for word in hook.block.split() if "$" in word}
        noted = {"$1", "$ip", "$opt69", "$opt70", "$opt95", '>|/run/hook."${interface##*/}")'}
        assert used <= {"$@", "status=$?", "$status"} | (noted if name == "udhcpc" else set())


@pytest.mark.parametrize(
    "hostile", ["$(touch sign)", "`touch sign`", '"; touch sign; "', "' touch sign '", "%s\\n"]
)
def test_what_the_network_told_udhcpc_is_written_down_and_never_run(
    root: Path, tmp_path: Path, hostile: str
) -> None:
    (hook,) = dhcp_hooks.hooks_for("udhcpc", root, tmp_path / "hook")
    text = hook.text.replace("/etc/udhcpc/default.script", "/bin/true")
    told = {"ip": "10.0.0.7", "opt69": "0a000001", "opt70": hostile, "opt95": hostile, "interface": "../lan0"}
    command = ["sh", "-c", text, "sh", "bound"]
    subprocess.run(command, env={**os.environ, **told}, cwd=tmp_path, check=True)
    assert (tmp_path / "hook.lan0").read_text() == f"address=10.0.0.7\n69=0a000001\n70={hostile}\n95={hostile}\n"
    assert leases_in((tmp_path / "hook.lan0").read_bytes()) == (Lease("10.0.0.7", ("10.0.0.1",)),)
    assert not (tmp_path / "sign").exists()
    emptied = {**os.environ, "interface": "lan0"}
    subprocess.run(["sh", "-c", text, "sh", "deconfig"], env=emptied, cwd=tmp_path, check=True)
    assert leases_in((tmp_path / "hook.lan0").read_bytes()) == ()


def test_udhcpcs_hook_runs_the_distributions_script_first_and_ends_as_it_does(root: Path, tmp_path: Path) -> None:
    (hook,) = dhcp_hooks.hooks_for("udhcpc", root, tmp_path / "hook")
    script = tmp_path / "default.script"
    script.write_text(f'#!/bin/sh\n[ ! -e {tmp_path}/hook ] && echo "$1 $ip"\nexit 7\n')
    script.chmod(0o755)
    text = hook.text.replace("/etc/udhcpc/default.script", str(script))
    done = subprocess.run(
        ["sh", "-c", text, "sh", "bound"], env={**os.environ, "ip": "10.0.0.7"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (7, "bound 10.0.0.7\n")
    assert (tmp_path / "hook").exists()


def test_what_an_administrator_wrote_for_dhcpcd_stays(root: Path) -> None:
    own = root / "etc/dhcpcd.exit-hook"
    own.write_text("logger $reason")  # without a newline at its end
    own.chmod(0o755)
    (hook,) = dhcp_hooks.hooks_for("dhcpcd", root, Path("/run/hook"))
    dhcp_hooks.install(hook)
    (changed,) = dhcp_hooks.hooks_for("dhcpcd", root, Path("/run/another"))
    own.write_text(own.read_text() + "true\n")
    dhcp_hooks.install(changed)
    assert own.read_text() == f"logger $reason\n{changed.block}true\n"
    assert own.stat().st_mode & 0o777 == 0o755
    assert dhcp_hooks.remove(hook)
    assert own.read_text() == "logger $reason\ntrue\n"


def test_a_file_of_somebody_elses_is_not_written_over(root: Path) -> None:
    (hook,) = dhcp_hooks.hooks_for("dhclient", root, Path("/run/hook"))
    hook.path.write_text("# mine\n")
    with pytest.raises(ConfigurationError, match="not lanpost's"):
        dhcp_hooks.install(hook)
    assert not dhcp_hooks.remove(hook)
    assert hook.path.read_text() == "# mine\n"


@pytest.mark.parametrize("name", sorted(set(dhcp_hooks.CLIENTS) - {"dhcpcd"}))
def test_a_client_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"installed\?"):
        dhcp_hooks.install(dhcp_hooks.hooks_for(name, tmp_path, Path("/run/hook"))[0])


def test_a_file_where_others_could_put_a_link_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match="choose a file in /run"):
        dhcp_hooks.check_place(tmp_path / "hook")
    with pytest.raises(ConfigurationError, match="choose a file in /run"):
        dhcp_hooks.check_place(tmp_path / "missing" / "hook")
    dhcp_hooks.check_place(Path("/etc/hook"))


@pytest.mark.parametrize(
    "file", ["/run/$(reboot)", "/run/a b", "run/hook", "/run/a;b", "/run/../etc/x", "/run/hook\n", "/"]
)
def test_a_file_that_a_shell_could_read_as_more_is_no_setting(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigurationError, match="hook_file"):
        parse(f"[agent]\nhook_file = '''{file}'''\n", tmp_path / "lanpost.toml")
