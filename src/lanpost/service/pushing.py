"""Whether a machine may be given lanpost, and what it gets: decided before anything is sent.

Everything here raises PushFailed, which says what stands in the way there and what to do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lanpost.content.archive import Archive, Wheel
from lanpost.content.archive import Machine as Fitting
from lanpost.content.chart_offer import AUTHORITY, CONFIGURATION, ChartOffer
from lanpost.errors import InvalidArchive, PushFailed
from lanpost.model.role import Role
from lanpost.wire.push import File, Machine, Plan, Request


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is pushed: a file. `signature`: its publisher's, if there is one."""

    archive: Archive
    sha256: str
    size: int  # octets
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the machines get besides. `configuration`: the text of one; `offer`: the chart that it asks."""

    roles: tuple[Role, ...] = ()  # none: what they have already
    root: str = ""  # another root folder there than /
    configuration: str | None = None
    offer: ChartOffer | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that these are about."""
        if self.offer is not None:
            return (CONFIGURATION, AUTHORITY)
        return () if self.configuration is None else (CONFIGURATION,)


def request_for(parcel: Parcel, wishes: Wishes) -> Request:
    """What the first stage is to look for."""
    places = wishes.offer.places if wishes.offer else ()
    return Request(parcel.sha256, parcel.size, parcel.archive.version, wishes.root, places, wishes.paths)


def check_machine(machine: Machine, parcel: Parcel, wishes: Wishes) -> tuple[Wheel, ...]:
    """Whether the file is for such a machine, and we are somebody there who may install it; what it takes of it."""
    python = machine.python
    if tuple(python[:2]) < min(parcel.archive.pythons):
        oldest = ".".join(map(str, min(parcel.archive.pythons)))
        shown = ".".join(map(str, python))
        raise PushFailed(
            f"its python3 ({machine.executable}) is {shown}, and {oldest} or newer is needed: install one there"
        )
    if machine.system != "Linux":
        raise PushFailed(f"its system is {machine.system}, and lanpost.pyz is for Linux")
    architecture = machine.machine if machine.bits == 64 else f"{machine.machine} with {machine.bits} bits"
    fitting = Fitting((python[0], python[1]), architecture, _glibc(machine.libc))
    wheels: tuple[Wheel, ...] = ()
    try:
        wheels = parcel.archive.wheels_for(fitting)
    except InvalidArchive as error:
        if set(wishes.roles) != {Role.AGENT} or fitting.python not in parcel.archive.pythons:  # an agent needs none
            raise PushFailed(str(error)) from None
    if machine.uid != 0 and not wishes.root:
        raise PushFailed(
            f"we log in there as user {machine.uid}, and only root may install: log in as root (--user root), or "
            "say --sudo"
        )
    return wheels


def check_plan(plan: Plan, parcel: Parcel, room: int, wishes: Wishes) -> tuple[File, ...]:
    """Whether it can be done there; the files of the configuration that are to be written.

    `room`: octets that the installed version takes.
    """
    if not (plan.at_hand and plan.current == parcel.archive.version):  # then it is installed already
        room += 0 if plan.at_hand else parcel.size - plan.offset
        if plan.free < room:
            raise PushFailed(
                f"its disk is too full: about {room / 1e6:.0f} MB are needed at {plan.place} and "
                f"{plan.free / 1e6:.0f} MB are free; remove something there, or mount a larger disk at /opt"
            )
    return _files(plan, wishes)


def _files(plan: Plan, wishes: Wishes) -> tuple[File, ...]:
    there = dict(zip(wishes.paths, plan.files, strict=True))
    if wishes.offer is not None:
        return _files_for_chart(plan, wishes.offer, there)
    if wishes.configuration is None or there[CONFIGURATION] == wishes.configuration:
        return ()
    if there[CONFIGURATION] is not None:
        raise PushFailed(
            f"{CONFIGURATION} is there and says something else; it is never overwritten: change or remove it there"
        )
    return (File(CONFIGURATION, wishes.configuration),)


def _files_for_chart(plan: Plan, offer: ChartOffer, there: Mapping[str, str | None]) -> tuple[File, ...]:
    shown = ", ".join(f"{host} port {port}" for host, port in offer.places)
    if plan.reached is None:
        raise PushFailed(
            f"from there the directory is not to be reached at {shown}: look at networks and firewalls"
        )
    if there[AUTHORITY] not in (None, offer.authority):
        raise PushFailed(
            f"{AUTHORITY} there is of another directory, or of this one before it was set up anew: remove it first"
        )
    files = [File(AUTHORITY, offer.authority)] if there[AUTHORITY] is None else []
    if (configuration := there[CONFIGURATION]) is None:
        return (*files, File(CONFIGURATION, offer.configuration(plan.reached)))
    if not any(_asks(configuration, offer.settings(number)) for number in range(len(offer.places))):
        lines = "; ".join(f'{key} = "{value}"' for key, value in offer.settings(plan.reached).items())
        raise PushFailed(
            f"{CONFIGURATION} is there, looks for the chart elsewhere, and is never overwritten: write into it "
            f"below [chart]: {lines}; or remove it"
        )
    return tuple(files)


def _asks(configuration: str, wanted: Mapping[str, str]) -> bool:
    """Whether a configuration has these settings in its `[chart]`."""
    try:
        chart = tomllib.loads(configuration).get("chart")
    except tomllib.TOMLDecodeError:
        return False
    return isinstance(chart, dict) and all(chart.get(key) == value for key, value in wanted.items())


def _glibc(libc: Sequence[str]) -> tuple[int, int] | None:
    if len(libc) != 2 or libc[0] != "glibc":
        return None
    major, _, minor = libc[1].partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None
