"""The user that services run as: made if need be, and what it may do beyond other users."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from lanpost.errors import InstallationError
from lanpost.store.installation import Installation

USER = "lanpost"
HOME = "/var/lib/lanpost"
NO_LOGIN = "/usr/sbin/nologin"
_FIRST_PERSON = 1000  # the lowest number of an account that is no system's (UID_MIN of login.defs(5))
_CAP_NET_BIND_SERVICE = 10  # capabilities(7): to listen at ports below 1024
_VERSION_3 = 0x20080522  # of capset(2)
_PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 8, 38  # prctl(2)
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2


def make_user(installation: Installation) -> tuple[int, int] | None:
    """User and group numbers of `lanpost`, made if it is not there. None: the image has no users yet.

    Raises InstallationError.
    """
    if (found := _numbers(installation)) is not None:
        return found
    if not installation.place("/etc/passwd").exists():
        return None
    prefix = [] if installation.is_live else ["--prefix", str(installation.root)]
    if shutil.which("useradd"):
        words = ["--system", "--user-group", "--no-create-home", "--home-dir", HOME, "--shell", NO_LOGIN]
        commands = [["useradd", *prefix, *words, USER]]
    elif shutil.which("adduser") and installation.is_live:  # BusyBox
        commands = [
            ["addgroup", "-S", USER],
            ["adduser", "-S", "-D", "-H", "-h", HOME, "-s", "/bin/false", "-G", USER, USER],
        ]
    else:
        raise InstallationError(
            f"neither useradd nor adduser is here: make the system user and group {USER} by hand"
        )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and _numbers(installation) is None:
            raise InstallationError(f"the user {USER} cannot be made: {' '.join(command)}: {done.stderr.strip()}")
    return _numbers(installation)


def remove_user(installation: Installation) -> None:
    """Nothing of its is left. No user of that name is no error; a person of that name stays."""
    numbers = _numbers(installation)
    if numbers is None or numbers[0] >= _FIRST_PERSON:
        return
    prefix = [] if installation.is_live else ["--prefix", str(installation.root)]
    command = ["userdel", *prefix, USER] if shutil.which("userdel") else ["deluser", USER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallationError(f"the user {USER} cannot be removed: {' '.join(command)}: {done.stderr.strip()}")


def become(name: str) -> None:
    """This process, which is root's, goes on as that user; it keeps the right to listen at ports below 1024.

    What it starts inherits that right and can gain no other. Raises OSError, KeyError.
    """
    user = pwd.getpwnam(name)
    library = ctypes.CDLL(None, use_errno=True)
    _call(library.prctl, _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.initgroups(name, user.pw_gid)
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    bit = 1 << _CAP_NET_BIND_SERVICE
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; the upper halves
    _call(library.capset, header, sets)
    _call(library.prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_NET_BIND_SERVICE, 0, 0)
    _call(library.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")


def _numbers(installation: Installation) -> tuple[int, int] | None:
    if installation.is_live:
        try:
            found = pwd.getpwnam(USER)
        except KeyError:
            return None
        return found.pw_uid, found.pw_gid
    return _in_file(installation.place("/etc/passwd"))


def _in_file(passwd: Path) -> tuple[int, int] | None:
    """Of an image: its users are not this machine's."""
    if passwd.exists():
        for line in passwd.read_text("utf-8", "replace").splitlines():
            fields = line.split(":")
            if fields[0] == USER and len(fields) > 3:
                return int(fields[2]), int(fields[3])
    return None
