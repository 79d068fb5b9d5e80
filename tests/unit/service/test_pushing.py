"""Whether a machine may be given lanpost, decided before anything is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lanpost.content.archive import Archive, read_wheel
from lanpost.content.chart_offer import AUTHORITY, CONFIGURATION, ChartOffer
from lanpost.errors import PushFailed
from lanpost.model.role import Role
from lanpost.service.pushing import Parcel, Wishes, check_machine, check_plan, request_for
from lanpost.wire.push import File, Machine, Plan

WHEEL = read_wheel("uvloop-0.22.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "00" * 32, 5000)
PARCEL = Parcel(Archive("1.0", ((3, 11), (3, 12)), ("x86_64",), (WHEEL,)), "ab" * 32, 1_000_000)
HERE = Machine((3, 11, 2), "/usr/bin/python3", "x86_64", 64, ("glibc", "2.36"), "Linux", 0)
THERE = Plan(False, 0, "", 10_000_000, "/opt/lanpost", None, None, ())
OFFER = ChartOffer("office.lan", "ou=chart,dc=office,dc=lan", (("10.0.0.5", 389), ("fd00::5", 389)), "PEM\n", True)


def test_a_machine_that_the_file_is_for_gets_its_wheels() -> None:
    assert check_machine(HERE, PARCEL, Wishes()) == (WHEEL,)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (
            replace(HERE, python=(3, 9, 2)),
            r"its python3 \(/usr/bin/python3\) is 3.9.2, and 3.11 or newer is needed",
        ),
        (replace(HERE, python=(3, 14, 0)), "comes for Python 3.11, 3.12; this is 3.14"),
        (replace(HERE, machine="armv7l", bits=32), "this machine is armv7l with 32 bits"),
        (replace(HERE, bits=32), "this machine is x86_64 with 32 bits"),
        (replace(HERE, libc=("", "")), "without glibc"),
        (replace(HERE, libc=("glibc", "2.5")), "with glibc 2.5"),
        (replace(HERE, system="FreeBSD"), "its system is FreeBSD"),
        (replace(HERE, uid=1000), "we log in there as user 1000, and only root may install: .*--sudo"),
    ],
)
def test_others_are_refused_with_the_reason(machine: Machine, words: str) -> None:
    with pytest.raises(PushFailed, match=words):
        check_machine(machine, PARCEL, Wishes((Role.SERVE,)))


def test_an_agent_alone_goes_where_no_wheel_fits() -> None:
    machine = replace(HERE, machine="riscv64")
    assert check_machine(machine, PARCEL, Wishes((Role.AGENT,))) == ()
    with pytest.raises(PushFailed):
        check_machine(machine, PARCEL, Wishes((Role.AGENT, Role.DIRECTORY)))


def test_below_another_root_no_root_is_needed() -> None:
    check_machine(replace(HERE, uid=1000), PARCEL, Wishes(root="/srv/image"))


@pytest.mark.parametrize(
    ("plan", "is_enough"),
    [
        (replace(THERE, free=3_000_000), True),
        (replace(THERE, free=2_999_999), False),
        (replace(THERE, free=2_500_000, offset=500_000), True),
        (replace(THERE, free=2_000_000, at_hand=True), True),
        (replace(THERE, free=0, at_hand=True, current="1.0"), True),
        (replace(THERE, free=0, at_hand=True, current="0.9"), False),
    ],
)
def test_there_is_room_for_what_is_still_to_come_and_for_what_is_installed(plan: Plan, is_enough: bool) -> None:
    if is_enough:
        check_plan(plan, PARCEL, 2_000_000, Wishes())
    else:
        with pytest.raises(PushFailed, match="its disk is too full: about"):
            check_plan(plan, PARCEL, 2_000_000, Wishes())


def test_a_configuration_goes_where_there_is_none() -> None:
    wishes = Wishes(configuration="domain = 'a.lan'\n")
    plan = replace(THERE, files=(None,))
    assert check_plan(plan, PARCEL, 0, wishes) == (File(CONFIGURATION, "domain = 'a.lan'\n"),)
    assert check_plan(replace(plan, files=("domain = 'a.lan'\n",)), PARCEL, 0, wishes) == ()
    with pytest.raises(PushFailed, match="never overwritten"):
        check_plan(replace(plan, files=("",)), PARCEL, 0, wishes)


# -- the chart of a directory

ASKS = Wishes((Role.SERVE,), offer=OFFER)


def test_a_mail_server_is_told_where_the_directory_answers_it() -> None:
    assert request_for(PARCEL, ASKS).reach == OFFER.places
    authority, configuration = check_plan(replace(THERE, reached=1, files=(None, None)), PARCEL, 0, ASKS)
    assert authority == File(AUTHORITY, "PEM\n")
    assert configuration.path == CONFIGURATION
    assert 'url = "ldaps://[fd00::5]:389/ou=chart,dc=office,dc=lan"' in configuration.text
    assert 'domain = "office.lan"' in configuration.text


def test_its_own_configuration_stays_if_it_asks_there() -> None:
    written = OFFER.configuration(0) + '[log]\nlevel = "debug"\n'
    assert check_plan(replace(THERE, reached=1, files=(written, "PEM\n")), PARCEL, 0, ASKS) == ()


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (replace(THERE, files=(None, None)), "is not to be reached at 10.0.0.5 port 389, fd00::5 port 389"),
        (replace(THERE, reached=0, files=(None, "ANOTHER\n")), "of another directory"),
        (
            replace(THERE, reached=0, files=('domain = "a.lan"\n', None)),
            r'below \[chart\]: url = "ldaps://10.0.0.5',
        ),
        (replace(THERE, reached=0, files=("no TOML", None)), "never overwritten"),
        (replace(THERE, reached=0, files=("chart = 1\n", None)), "never overwritten"),
    ],
)
def test_what_stands_in_the_way_is_said(plan: Plan, words: str) -> None:
    with pytest.raises(PushFailed, match=words):
        check_plan(plan, PARCEL, 0, ASKS)
