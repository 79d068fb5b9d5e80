"""What `lanpost agent install-hook` puts beside each DHCP client: one line of shell that touches the agent's file.

The line carries nothing: what a client hands to its hooks came over the network, and is neither read nor passed on.
The agent looks for itself. One exception: udhcpc leaves no lease on the disk, so its script writes down which
servers DHCP named. Standard library only. Raises ConfigurationError and StoreError.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lanpost.errors import ConfigurationError
from lanpost.store.files import replace_file, store_error

BEGIN, END = "# >>> lanpost agent install-hook {name}", "# <<< lanpost agent install-hook {name}"
UDHCPC_SCRIPTS = ("etc/udhcpc/default.script", "usr/share/udhcpc/default.script")  # Debian; Alpine and OpenWrt

# `echo` and not `:`, at which a shell would end if the file could not be opened. `>|` though noclobber be set. The
# file is in a folder that only root may change, so that nobody can put a link there.
TOUCH = "echo look 2>/dev/null >|{file} || :\n"

# Before the address is set: the agent, which the kernel wakes, finds it done. The values stand in quotes, as
# arguments; the agent reads them as it reads every lease file (content/dhcp_lease.py).
LEAVE_OPTIONS = """\
case "$1" in
bound|renew|deconfig)
    (umask 022; printf 'address=%s\\n69=%s\\n70=%s\\n95=%s\\n' "$ip" "$opt69" "$opt70" "$opt95" \\
        >|{file}."${{interface##*/}}") 2>/dev/null || : ;;
esac
"""

SOURCED = "# Tells the agent that addresses may have changed. It is sourced: no exit, no variables, no waiting.\n"
RUN = "# Tells the agent that addresses may have changed.\n"


@dataclass(frozen=True, slots=True)
class Hook:
    """A file of one DHCP client's. What is ours in it is `block`; programs have a `first_line` before it."""

    path: Path
    block: str
    first_line: str = ""
    mode: int = 0o644
    shared: bool = False  # the client knows this one file only, which an administrator may have written to
    makes_folder: bool = False  # the client looks there although its package does not bring the folder

    @property
    def text(self) -> str:
        """The file, where there was none before."""
        return self.first_line + self.block


@dataclass(frozen=True, slots=True)
class Client:
    """A DHCP client that has hooks. `remark` is what is left to do by hand, or to know."""

    hooks: Callable[[Path, str, Path], tuple[Hook, ...]]
    remark: str = ""


def _block(name: str, lines: str) -> str:
    return f"{BEGIN.format(name=name)}\n{lines}{END.format(name=name)}\n"


def _program(name: str, path: Path, touch: str, makes_folder: bool = False) -> Hook:
    return Hook(path, _block(name, RUN + touch), "#!/bin/sh\n", 0o755, makes_folder=makes_folder)


def _dhclient(root: Path, touch: str, _file: Path) -> tuple[Hook, ...]:
    return (Hook(root / "etc/dhcp/dhclient-exit-hooks.d/lanpost", _block("dhclient", SOURCED + touch)),)


def _dhcpcd(root: Path, touch: str, _file: Path) -> tuple[Hook, ...]:
    return (Hook(root / "etc/dhcpcd.exit-hook", _block("dhcpcd", SOURCED + touch), shared=True),)


def _udhcpc(root: Path, touch: str, file: Path) -> tuple[Hook, ...]:
    place = root / "etc/udhcpc/lanpost.script"
    script = next((name for name in UDHCPC_SCRIPTS if (root / name).exists()), "")
    if not script and not place.exists():
        looked_for = " nor ".join(str(root / name) for name in UDHCPC_SCRIPTS)
        raise ConfigurationError(f"neither {looked_for} is there: is udhcpc installed?")
    leave = f"# Which servers DHCP named, in hex; have udhcpc ask for them.\n{LEAVE_OPTIONS.format(file=file)}"
    lines = (
        f'{RUN}{leave}# First the script that sets the address: udhcpc calls one only.\n/{script} "$@"\nstatus=$?\n'
    )
    text = _block("udhcpc", f"{lines}{touch}exit $status\n")
    return (Hook(place, text, "#!/bin/sh\n", 0o755),)


def _networkd(root: Path, touch: str, _file: Path) -> tuple[Hook, ...]:
    # One folder for each state that a link can come into. Debian's package lacks the last one, which tells of a
    # new address on a link that has been routable all the time.
    states = ("carrier.d", "degraded.d", "routable.d", "configured.d")
    place = root / "etc/networkd-dispatcher"
    return tuple(_program("networkd", place / state / "50-lanpost", touch, makes_folder=True) for state in states)


def _networkmanager(root: Path, touch: str, _file: Path) -> tuple[Hook, ...]:
    return (_program("networkmanager", root / "etc/NetworkManager/dispatcher.d/50-lanpost", touch),)


CLIENTS = {
    "dhclient": Client(_dhclient),
    "dhcpcd": Client(_dhcpcd),
    "udhcpc": Client(_udhcpc, "have udhcpc started with `-s /etc/udhcpc/lanpost.script`"),
    "networkd": Client(
        _networkd, "networkd-dispatcher calls it; where only an address changes, rtnetlink alone tells of it"
    ),
    "networkmanager": Client(_networkmanager),
}


def hooks_for(name: str, root: Path, file: Path) -> tuple[Hook, ...]:
    """What to install for a client, below `root`; `file` is what the hook touches, as plain_file reads it."""
    return CLIENTS[name].hooks(root, TOUCH.format(file=file), file)


def check_place(file: Path) -> None:
    """Refuse a file in a folder that others than root may change: hooks write there as root, and follow links."""
    try:
        folder = file.parent.stat()
    except OSError as error:
        raise ConfigurationError(
            f"agent.hook_file: {file.parent}: {error.strerror}; choose a file in /run"
        ) from None
    if folder.st_uid != 0 or folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"agent.hook_file: others than root may change {file.parent}, and DHCP clients would write there as "
            "root; choose a file in /run"
        )


def install(hook: Hook) -> None:
    """Put it in place, or anew. What others wrote stays, or is an error where that cannot be."""
    found = _read(hook.path)
    if found is None:
        folder = hook.path.parent
        if hook.makes_folder and folder.parent.is_dir():
            folder.mkdir(0o755, exist_ok=True)
        if not folder.is_dir():
            raise ConfigurationError(f"there is no {folder}: is this DHCP client installed?")
        _write(hook.path, hook.text, hook.mode)
        return
    before, _, after = _parted(hook, found)
    if not hook.shared and (before, after) != (hook.first_line, ""):
        raise ConfigurationError(
            f"{hook.path} is there and not lanpost's: move it away, or take its line in by hand"
        )
    if before and not before.endswith("\n"):
        before += "\n"
    _write(hook.path, before + hook.block + after, stat.S_IMODE(hook.path.stat().st_mode))


def remove(hook: Hook) -> bool:
    """Take it away again, and no more than it. False: it was not there."""
    found = _read(hook.path)
    if found is None:
        return False
    before, ours, after = _parted(hook, found)
    if not ours:
        return False
    rest = before + after
    if rest == hook.first_line:
        try:
            hook.path.unlink()
        except OSError as error:
            raise store_error(error, str(hook.path)) from None
    else:
        _write(hook.path, rest, stat.S_IMODE(hook.path.stat().st_mode))
    return True


def _parted(hook: Hook, text: str) -> tuple[str, str, str]:
    """What is before our block, the block (of any version), what is behind it."""
    begin, end = hook.block.splitlines(keepends=True)[0], hook.block.splitlines(keepends=True)[-1]
    before, found, behind = text.partition(begin)
    inner, ended, after = behind.partition(end)
    if not (found and ended):
        return text, "", ""
    return before, begin + inner + end, after


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error(error, str(path)) from None


def _write(path: Path, text: str, mode: int) -> None:
    try:
        replace_file(path, text.encode("utf-8", "surrogateescape"), mode)
        path.chmod(mode)  # whatever the umask is
    except OSError as error:
        raise store_error(error, str(path)) from None
