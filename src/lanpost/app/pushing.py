"""`lanpost push`: the file to one machine by ssh, where it installs itself. Raises PushFailed.

What may be done is decided by service/pushing.py, said by wire/push.py, carried by app/ssh_connection.py and done
there by app/first_stage.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Protocol

from lanpost.app.ssh_connection import SshConnection, Way
from lanpost.content.archive import MANIFEST, read_manifest
from lanpost.content.chart_offer import ChartOffer, read_offer
from lanpost.errors import InvalidArchive, InvalidValue, PushFailed
from lanpost.service.pushing import Parcel, Wishes, check_machine, check_plan, request_for
from lanpost.store.archive_file import publisher_signature
from lanpost.store.program_build import room_for
from lanpost.wire.push import Answer, File, Got, Installed, Installing, Line, Machine, Plan

CHUNK = 1 << 18  # octets read from the file at a time
_OURS = "lanpost: "  # begins the line in which a command of ours says what is wrong
_REMARK = "next: "  # begins a line in which `install` says what is left to do
COMMAND = "lanpost"  # in /usr/local/bin, or in /usr/bin where it is a Debian package


class Watcher(Protocol):
    """Is told how it goes at one machine."""

    def sent(self, octets: int, total: int) -> None:
        """So much of the file is there, and on its disk or on the way to it."""

    def said(self, line: str) -> None:
        """A line of the installation's."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done at a machine, or would be. `before`: the version that was in force; None: none."""

    version: str
    before: str | None
    octets: int  # of the file, sent
    files: tuple[str, ...]  # of the configuration, written
    remarks: tuple[str, ...] = ()  # what is left to do there, in words


def open_parcel(file: Path) -> Parcel:
    """What a `lanpost.pyz` is. Raises InvalidArchive, and StoreError for a signature that cannot be read."""
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
        with zipfile.ZipFile(file) as members:
            archive = read_manifest(members.read(MANIFEST))
    except OSError as error:
        raise InvalidArchive(f"{file}: {error.strerror}") from None
    except (zipfile.BadZipFile, KeyError):
        raise InvalidArchive(f"{file} is no lanpost.pyz, or not a whole one: fetch or build it anew") from None
    return Parcel(archive, digest, size, publisher_signature(file))


async def push(
    host: str,
    way: Way,
    file: Path,
    parcel: Parcel,
    wishes: Wishes,
    arguments: Sequence[str],
    watcher: Watcher,
    *,
    dry_run: bool = False,
) -> Done:
    """Send the file, and have it install itself with these `arguments`. With `dry_run` nothing is changed there.

    What came there before an interruption is not sent again.
    """
    async with SshConnection(host, way) as connection:
        session = connection.session
        await connection.ready()
        session.request(_first_stage(), request_for(parcel, wishes))
        await connection.send()
        wheels = check_machine(await connection.event(Machine), parcel, wishes)
        plan = await connection.event(Plan)
        room = await asyncio.to_thread(room_for, file, wheels)
        files = check_plan(plan, parcel, room.octets, wishes)
        offset = await asyncio.to_thread(_agreed, file, plan, parcel)
        octets = 0 if plan.at_hand else parcel.size - offset
        done = Done(parcel.archive.version, plan.current, octets, tuple(each.path for each in files))
        if dry_run:
            return done
        lines = await _carry_out(connection, file, parcel, offset, octets, files, arguments, watcher)
        return replace(done, remarks=tuple(line for line in lines if line.startswith(_REMARK)))


async def ask_for_chart(host: str, way: Way) -> ChartOffer:
    """Where the chart of the directory at `host` is."""
    async with SshConnection(host, way) as connection:
        await connection.ready()
        connection.session.ask(_first_stage(), [COMMAND, "chart", "offer", "--json"])
        await connection.send()
        machine = await connection.event(Machine)
        answer = await connection.event(Answer)
    if answer.status == 127:
        raise PushFailed(f"there is no lanpost yet: lanpost push {host} --role directory")
    if answer.status:
        hint = "" if machine.uid == 0 else " (we log in there as no root: --user root, or --sudo)"
        last = (answer.errors.strip().splitlines() or ["it does not say where its chart is"])[-1]
        raise PushFailed(last.removeprefix(_OURS) + hint)
    try:
        return read_offer(answer.output)
    except InvalidValue as error:
        raise PushFailed(str(error)) from None


async def _carry_out(
    connection: SshConnection,
    file: Path,
    parcel: Parcel,
    offset: int,
    octets: int,
    files: Sequence[File],
    arguments: Sequence[str],
    watcher: Watcher,
) -> list[str]:
    """The lines that the installation printed."""
    connection.session.go(offset, files, arguments, parcel.signature)
    await connection.send()
    total = offset + octets
    watcher.sent(offset, total)
    sender = asyncio.create_task(_send(connection, file, offset, octets))
    try:
        while isinstance(event := await connection.either(Got, Installing), Got):
            watcher.sent(event.octets, total)
        await sender
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
    watcher.sent(total, total)
    lines = []
    while isinstance(said := await connection.either(Line, Installed), Line):
        lines.append(said.text)
        if not said.text.startswith(_REMARK):  # told at the end
            watcher.said(said.text)
    if said.status:
        stays = f"lanpost {said.current} is in force" if said.current else "nothing is installed"
        ours = [line.removeprefix(_OURS) for line in lines if line.startswith(_OURS)]  # others may stand behind it
        why = (ours or [line for line in lines if line] or ["its installation failed"])[-1]
        raise PushFailed(f"{why} ({stays} there)")
    return lines


async def _send(connection: SshConnection, file: Path, offset: int, octets: int) -> None:
    with file.open("rb") as stream:
        stream.seek(offset)
        while octets > 0 and (chunk := await asyncio.to_thread(stream.read, min(CHUNK, octets))):
            await connection.send(chunk)
            octets -= len(chunk)


def _agreed(file: Path, plan: Plan, parcel: Parcel) -> int:
    """How much of the file is there from an earlier push, and right."""
    if plan.at_hand or not 0 < plan.offset <= parcel.size:
        return 0
    digest = hashlib.sha256()
    left = plan.offset
    with file.open("rb") as stream:
        while left and (chunk := stream.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return plan.offset if digest.hexdigest() == plan.part else 0


def _first_stage() -> str:
    return resources.files("lanpost.app").joinpath("first_stage.py").read_text("utf-8")
