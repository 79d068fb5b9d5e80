"""A version of the program put together in a folder, from its archive: what fits this machine, compiled.

Standard library only. Raises StoreError, and StoreFull where there is no room.
"""

from __future__ import annotations

import compileall
import json
import os
import py_compile
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lanpost.content.archive import BUNDLE, MANIFEST, WHEELS, Wheel
from lanpost.content.launcher import launcher
from lanpost.errors import StoreError
from lanpost.store.archive_file import publisher_signature, publisher_signature_of
from lanpost.store.files import store_error
from lanpost.store.installation import RECORD
from lanpost.store.program_file import FILE_NAME

COMPILED = 2.2  # how many times its own size a module takes, compiled form included
BLOCK = 4096  # octets; the least that a file takes
_NOT_FOR_LIB = (WHEELS, BUNDLE, "__main__.py", MANIFEST)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that the installed program is for. `minor` as (3, 11)."""

    path: str
    minor: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Room:
    """What an installed version takes of a file system."""

    octets: int
    files: int


def room_for(archive: Path, wheels: Sequence[Wheel]) -> Room:
    """About what `build` will need. Never less."""
    octets, files = archive.stat().st_size, 50
    with _reading(archive), zipfile.ZipFile(archive) as content:
        members = [member for member in content.infolist() if _is_for_lib(member.filename)]
        for wheel in wheels:
            with content.open(wheel.member) as opened, zipfile.ZipFile(opened) as inner:
                members += inner.infolist()
    for member in members:
        is_module = member.filename.endswith(".py")
        octets += int(member.file_size * (COMPILED if is_module else 1)) + (2 * BLOCK if is_module else BLOCK)
        files += 3 if is_module else 2  # the folder for the compiled form counts too
    return Room(octets, files)


def build(
    archive: Path,
    wheels: Sequence[Wheel],
    version: str,
    folder: Path,
    interpreter: Interpreter,
    home: str,
    *,
    again: str = "",
    linked: bool = False,
) -> None:
    """Fill an empty folder: lanpost.pyz, lib/, bin/lanpost, and a record of what it was made for.

    `home`: the path that the folder will have once it is in place. `again`: see `launcher`. `linked`: the archive
    is on the same file system and never written to, only replaced, so that a further name does for a copy.
    """
    with _reading(archive):
        if linked:
            (folder / FILE_NAME).hardlink_to(archive)
        else:
            _copy(archive, folder / FILE_NAME)
            (folder / FILE_NAME).chmod(0o755)  # it can be started from there, too
        if publisher_signature(archive):
            _copy(publisher_signature_of(archive), publisher_signature_of(folder / FILE_NAME))
        library = folder / "lib"
        library.mkdir()
        with zipfile.ZipFile(folder / FILE_NAME) as content:
            for member in content.infolist():
                if _is_for_lib(member.filename):
                    _unpack(content, member, library)
            for wheel in wheels:
                with content.open(wheel.member) as opened, zipfile.ZipFile(opened) as inner:
                    for member in inner.infolist():
                        _unpack(inner, member, library)
        _compile(library, home)
        (folder / "bin").mkdir()
        _write(folder / "bin" / "lanpost", launcher(version, interpreter.path, interpreter.minor, again), 0o755)
        record = {"version": version, "python": interpreter.path, "minor": list(interpreter.minor)}
        _write(folder / RECORD, json.dumps(record) + "\n", 0o644)
        folder.chmod(0o755)


def made_for(folder: Path) -> Interpreter:
    """The Python that a built version is for. StoreError where that is not written there."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        major, minor = record["minor"]
        return Interpreter(str(record["python"]), (int(major), int(minor)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder} is no whole installation ({error}): install that version again") from None


def sync_all(folder: Path) -> None:
    """All that was written below a folder is on disk. OSError where the disk did not take it.

    First everything at once, since a flush for each of some thousand small files takes minutes on a memory card.
    """
    os.sync()
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _is_for_lib(name: str) -> bool:
    return not name.endswith("/") and not name.startswith(_NOT_FOR_LIB)


def _unpack(content: zipfile.ZipFile, member: zipfile.ZipInfo, library: Path) -> None:
    place = _place(member.filename)
    if member.is_dir() or place is None:
        return
    target = library / place
    target.parent.mkdir(parents=True, exist_ok=True)
    with content.open(member) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def _place(name: str) -> PurePosixPath | None:
    """Where a member goes below lib/; None: it is not for there (a wheel's scripts and headers)."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise StoreError(
            f"the file names {name!r} in itself, outside its place: it is not lanpost's; fetch it anew"
        )
    if path.parts[0].endswith(".data"):
        return PurePosixPath(*path.parts[2:]) if path.parts[1] in ("purelib", "platlib") else None
    return path


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as content, target.open("wb") as copy:
        shutil.copyfileobj(content, copy, 2**20)


def _compile(library: Path, home: str) -> None:
    """Nobody changes these files, so Python need not compare times at each start."""
    compileall.compile_dir(
        library,
        quiet=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        stripdir=str(library.parent),
        prependdir=home,  # as error messages shall name it
    )


def _write(path: Path, text: str, mode: int) -> None:
    path.write_text(text, "utf-8")
    path.chmod(mode)


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except zipfile.BadZipFile as error:
        raise StoreError(f"{archive} is damaged ({error}): fetch or copy it anew") from None
    except OSError as error:
        raise store_error(error, str(error.filename or archive)) from None
