"""A `lanpost.pyz` read: what it says it holds, and whether it is whole.

Standard library only: it runs from that file on a machine that has nothing else.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import zipfile
import zlib
from pathlib import Path

from lanpost.content.archive import MANIFEST, Archive, Machine, read_manifest
from lanpost.errors import InvalidArchive, StoreError
from lanpost.store.files import store_error

CHUNK = 2**20  # octets read at a time


def this_machine() -> Machine:
    """What wheels must fit here."""
    # A 64-bit kernel may carry a 32-bit system, as on many small computers: it counts what Python itself is.
    architecture = platform.machine() if sys.maxsize > 2**32 else f"{platform.machine()} with a 32-bit Python"
    return Machine(sys.version_info[:2], architecture, _glibc())


def open_archive(path: Path) -> Archive:
    """What the file at `path` holds, by its manifest. Raises StoreError where it is none of ours, or broken."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _manifest(archive, path)
    except OSError as error:
        raise store_error(error, str(path)) from None
    except zipfile.BadZipFile as error:
        raise _broken(path, str(error)) from None


def check_archive(path: Path) -> Archive:
    """The same after reading the whole file: every member's checksum, and every wheel's SHA-256 and size."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive, path)
            wheels = {wheel.member: wheel for wheel in manifest.wheels}
            if missing := sorted(wheels.keys() - set(archive.namelist())):
                raise _broken(path, f"{missing[0]} is missing")
            for member in archive.infolist():
                sha256, size = _digest(archive, member, path)
                wheel = wheels.get(member.filename)
                if wheel is not None and (sha256, size) != (wheel.sha256, wheel.size):
                    raise _broken(path, f"{member.filename} is not the one that {MANIFEST} names")
            return manifest
    except OSError as error:
        raise store_error(error, str(path)) from None
    except zipfile.BadZipFile as error:
        raise _broken(path, str(error)) from None


def sha256_of(path: Path) -> str:
    """Of the whole file, in hexadecimal. Raises StoreError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise store_error(error, str(path)) from None


def publisher_signature_of(file: Path) -> Path:
    """Where the signature of whoever published the file lies, if there is one: beside it."""
    return file.with_name(f"{file.name}.publisher.sig")


def publisher_signature(file: Path) -> str:
    """What lies beside the file as its signature; "" where nothing does. Raises StoreError."""
    beside = publisher_signature_of(file)
    try:
        return beside.read_text("ascii")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise store_error(error, str(beside)) from None
    except UnicodeDecodeError:
        raise StoreError(
            f"{beside}: not a signature of ssh-keygen: remove it, or put the right one there"
        ) from None


def _glibc() -> tuple[int, int] | None:
    """Its version, as (2, 36); None where the C library is another."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = (int(part) for part in version.split(".")[:2])
    except (ValueError, OSError):  # musl knows no such name, or has no answer
        return None
    return (major, minor) if name == "glibc" else None


def _manifest(archive: zipfile.ZipFile, path: Path) -> Archive:
    try:
        return read_manifest(archive.read(MANIFEST))
    except KeyError:
        raise StoreError(
            f"{path}: not a lanpost.pyz, or cut short: there is no {MANIFEST} in it; fetch or copy it anew"
        ) from None
    except InvalidArchive as error:
        raise StoreError(f"{path}: {error}") from None
    except (zlib.error, EOFError) as error:
        raise _broken(path, f"{MANIFEST}: {error}") from None


def _digest(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(member) as content:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _broken(path, f"{member.filename}: {error}") from None
    return digest.hexdigest(), size


def _broken(path: Path, what: str) -> StoreError:
    return StoreError(f"{path} is damaged ({what}): fetch or copy it anew")


def read_member(path: Path, name: str) -> bytes:
    """One member's content. Raises StoreError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except KeyError:
        raise StoreError(f"{path}: there is no {name} in it") from None
    except OSError as error:
        raise store_error(error, str(path)) from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _broken(path, str(error)) from None
