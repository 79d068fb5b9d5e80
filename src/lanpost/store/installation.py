"""Where the installed program lies: `/opt/lanpost/<version>/`, and the links that say which of them is in force.

    /opt/lanpost/0.1.0/        lanpost.pyz as it came, lib/, bin/lanpost, share/
    /opt/lanpost/current       -> 0.1.0; replaced in one step, so that there always is one
    /opt/lanpost/previous      -> what was in force before, for `lanpost rollback`
    /opt/lanpost/.unproven     -> what to go back to if the one in force does not come up; gone once it has

The Debian package has the same in /usr/lib/lanpost, beside the lanpost.pyz that dpkg looks after; no `previous`.

Raises OSError as the system gave it, StoreBusy from `only_one`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lanpost.errors import StoreBusy
from lanpost.store.exchange import exchange
from lanpost.store.files import sync_folder

# In the names of what is half made, or replaced and not yet removed.
_NEW, _OLD, _LINK = ".new-", ".old-", ".link-"
_UNPROVEN, _PUSHED = ".unproven", ".push"  # the latter is of app/first_stage.py
RECORD = "installation.json"  # in each version's folder: nobody else's has it

BY_HAND, PACKAGED = "/opt/lanpost", "/usr/lib/lanpost"  # `lanpost install`, the Debian package


@dataclass(frozen=True, slots=True)
class Installation:
    """The places on one machine, or below `root` in the image of one."""

    root: Path = Path("/")
    home: str = BY_HAND  # the folder of programs as the installed system calls it

    def place(self, path: str) -> Path:
        """Where an absolute path of the installed system is seen from here."""
        return self.root / path.lstrip("/")

    @property
    def programs(self) -> Path:
        return self.place(self.home)

    @property
    def command(self) -> Path:
        return self.place("/usr/local/bin/lanpost")

    @property
    def configuration(self) -> Path:
        return self.place("/etc/lanpost/lanpost.toml")

    @property
    def is_live(self) -> bool:
        """Whether it is this very machine: services can be started."""
        return self.root == Path("/")

    def folder(self, version: str) -> Path:
        return self.programs / version

    # -- which is in force

    def current(self) -> str | None:
        """The version in force; None where there is none, or its folder is gone."""
        return self._version_at("current")

    def previous(self) -> str | None:
        """The version that was in force before; None as above."""
        return self._version_at("previous")

    def unproven(self) -> str | None:
        """What was in force before the one in force now, which has not shown yet that it comes up."""
        return self._version_at(_UNPROVEN)

    def set_current(self, version: str) -> None:
        self._point("current", version)

    def set_previous(self, version: str) -> None:
        self._point("previous", version)

    def forget_previous(self) -> None:
        """There is nothing to go back to by will; `clean` removes it."""
        (self.programs / "previous").unlink(missing_ok=True)

    def set_unproven(self, before: str | None) -> None:
        if before is None:
            (self.programs / _UNPROVEN).unlink(missing_ok=True)
        else:
            self._point(_UNPROVEN, before)

    def versions(self) -> list[str]:
        """All whose folders are there, whole ones only. What else may lie beside them is not ours."""
        if not self.programs.is_dir():
            return []
        return sorted(
            path.name
            for path in self.programs.iterdir()
            if (path / RECORD).is_file() and not path.is_symlink() and not path.name.startswith(".")
        )

    # -- folders

    def begin(self, version: str) -> Path:
        """A new, empty folder in which to put a version together; see `put_in_place`."""
        folder = self.programs / f".{version}{_NEW}{secrets.token_hex(4)}"
        folder.mkdir(0o755)
        return folder

    def put_in_place(self, made: Path, version: str) -> Path | None:
        """Give a folder that is made its name. What had that name before is returned, for `give_back`."""
        final = self.folder(version)
        replaced = None
        if final.exists():
            replaced = made.with_name(made.name.replace(_NEW, _OLD))
            made.rename(replaced)
            exchange(final, replaced)
        else:
            made.rename(final)
        sync_folder(self.programs)
        return replaced

    def give_back(self, replaced: Path, version: str) -> None:
        """The folder that `put_in_place` replaced, in its old place again."""
        exchange(self.folder(version), replaced)
        sync_folder(self.programs)

    def clean(self) -> None:
        """Remove what broken installations left, and the versions that are neither in force nor to go back to."""
        self._remove_all_but({self.current(), self.previous(), self.unproven()})

    def remove(self) -> list[Path]:
        """Remove all of ours. The answer: what stays, since it is not, or cannot go (a mount point)."""
        for name in ("current", "previous", _UNPROVEN):
            if (link := self.programs / name).is_symlink():
                link.unlink()
        if (pushed := self.programs / _PUSHED).is_dir():
            shutil.rmtree(pushed)
        self._remove_all_but(set())
        left = sorted(self.programs.iterdir())
        try:
            self.programs.rmdir()
        except OSError:
            return left or [self.programs]
        return []

    def _remove_all_but(self, kept: Collection[str | None]) -> None:
        if not self.programs.is_dir():
            return
        for version in self.versions():
            if version not in kept:
                # What is removed by half must not pass for a version, nor for somebody else's.
                self.folder(version).rename(self.programs / f".{version}{_OLD}{secrets.token_hex(4)}")
        for path in list(self.programs.iterdir()):
            if path.name.startswith(".") and any(mark in path.name for mark in (_NEW, _OLD, _LINK)):
                if path.is_symlink() or not path.is_dir():
                    path.unlink()
                else:
                    shutil.rmtree(path)
        sync_folder(self.programs)

    def _version_at(self, link: str) -> str | None:
        try:
            version = str((self.programs / link).readlink())
        except OSError:
            return None
        return version if self.folder(version).is_dir() else None

    def _point(self, link: str, version: str) -> None:
        point(self.programs / link, version)


def point(link: Path, target: str | Path) -> None:
    """Make a symbolic link, or have it point elsewhere in one step. Durable."""
    fresh = link.with_name(f".{link.name}{_LINK}{secrets.token_hex(4)}")
    fresh.symlink_to(target)
    try:
        fresh.replace(link)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)


@contextmanager
def only_one(installation: Installation) -> Iterator[None]:
    """Nobody else installs, rolls back or removes meanwhile. The folder of programs is there within."""
    installation.programs.mkdir(0o755, parents=True, exist_ok=True)
    handle = os.open(installation.programs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusy(
                f"{installation.programs}: another lanpost is installed or removed here just now; wait for it"
            ) from None
        yield
    finally:
        os.close(handle)
