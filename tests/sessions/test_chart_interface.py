"""One suite for every store of the chart: what the port `Chart` promises.

A new store adds an opener to OPENERS: a context manager that is given an empty folder and yields the `[chart]`
settings of an empty chart, which any number of handles and processes may then open.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram
from tests.slapd import Slapd
from tests.webdav_servers import Apache, Wsgidav

import lanpost
from lanpost.app.charts import open_chart
from lanpost.app.config import load
from lanpost.app.settings import ChartSettings, Settings
from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import NO_DETAILS, Details
from lanpost.model.endpoint import Endpoint
from lanpost.model.proof import Proof
from lanpost.service.handover import make_way, settle
from lanpost.service.ports import Chart

NOW = datetime(2026, 11, 23, 20, 15, 0, 123456, tzinfo=UTC)
HERE = Endpoint("10.0.0.7")
THERE = Endpoint("10.0.0.8", 2525)


@contextmanager
def sqlite(folder: Path) -> Iterator[ChartSettings]:
    yield ChartSettings(url=f"sqlite:{folder}/chart.sqlite3")


@contextmanager
def xml_file(folder: Path) -> Iterator[ChartSettings]:
    yield ChartSettings(url=f"xml:{folder}/chart.xml")


@contextmanager
def xml_on_wsgidav(folder: Path) -> Iterator[ChartSettings]:
    with Wsgidav(folder / "dav") as server:
        yield ChartSettings(url=server.url)


@contextmanager
def xml_on_apache(_folder: Path) -> Iterator[ChartSettings]:
    if not Apache.program():
        pytest.skip("apache2 is not installed")
    with Apache() as server:
        yield ChartSettings(url=server.url)


Opener = Callable[[Path], AbstractContextManager[ChartSettings]]


def in_slapd(folder: Path, *, dds: bool, syncprov: bool = True) -> Iterator[ChartSettings]:
    with Slapd(dds=dds, syncprov=syncprov) as directory:
        (folder / "password").write_text(directory.password, "ascii")
        yield ChartSettings(
            url=f"{directory.url}/{directory.base}", bind_dn=directory.bind_dn, password_file="password"
        )


@contextmanager
def slapd(folder: Path) -> Iterator[ChartSettings]:
    yield from in_slapd(folder, dds=False)


@contextmanager
def slapd_with_leases(folder: Path) -> Iterator[ChartSettings]:
    yield from in_slapd(folder, dds=True)


@contextmanager
def slapd_without_synchronisation(folder: Path) -> Iterator[ChartSettings]:
    yield from in_slapd(folder, dds=False, syncprov=False)


@contextmanager
def our_directory(folder: Path) -> Iterator[ChartSettings]:
    with DirectoryProgram(folder / "directory") as directory:
        (folder / "password").write_text(PASSWORD, "ascii")
        yield ChartSettings(url=f"{directory.url}/{BASE}", bind_dn=ADMIN, password_file="password")


OPENERS: list[Opener | ParameterSet] = [
    sqlite,
    xml_file,
    xml_on_wsgidav,
    our_directory,
    pytest.param(slapd, marks=pytest.mark.peer),
    pytest.param(slapd_with_leases, marks=pytest.mark.peer),
    pytest.param(slapd_without_synchronisation, marks=pytest.mark.peer),
    pytest.param(xml_on_apache, marks=pytest.mark.peer),
]


@pytest.fixture(params=OPENERS, ids=lambda opener: str(opener.__name__))
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Read from a file that another process can read too."""
    with request.param(tmp_path) as chart_settings:
        file = tmp_path / "lanpost.toml"
        defaults = asdict(ChartSettings())
        keys = "".join(
            f"{key} = {json.dumps(value)}\n"
            for key, value in asdict(chart_settings).items()
            if value != defaults[key]
        )
        file.write_text(f'data = "{tmp_path}"\n[chart]\n{keys}', "utf-8")
        yield load(str(file))


@pytest.fixture
async def chart(settings: Settings) -> AsyncIterator[Chart]:
    chart = open_chart(settings)
    yield chart
    await chart.close()


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Chart]:
    """A second handle on the same chart."""
    chart = open_chart(settings)
    yield chart
    await chart.close()


Ask = Callable[[str], Awaitable[None]]


class OtherProcess:
    """Obeys what `chart_process.py` lists."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdin
        assert process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout

    async def answers(self, word: str) -> None:
        line = await self._stdout.readline()
        assert line.decode().strip() == word

    async def ask(self, line: str) -> None:
        self._stdin.write(f"{line}\n".encode())
        await self.answers("ok")


@pytest.fixture
async def start(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[OtherProcess]]]:
    started: list[OtherProcess] = []
    script = Path(__file__).with_name("chart_process.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(lanpost.__file__).parent.parent)}

    async def start_one() -> OtherProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            script,
            str(settings.file),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        started.append(OtherProcess(process))
        await started[-1].answers("ready")
        return started[-1]

    yield start_one
    for other in started:
        if other.process.returncode is None:
            other._stdin.close()
        await other.process.wait()


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def bound(text: str, endpoint: Endpoint = HERE) -> Binding:
    return Binding(named(text), endpoint, NOW)


async def all_entries(chart: Chart) -> list[Entry]:
    return [entry async for entry in chart.entries()]


async def begin(watch: AsyncIterator[MailAddress]) -> asyncio.Future[MailAddress]:
    """Start watching: what is bound from here on is told by the future, and by `anext` after it."""
    future = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    return future


# --- inquiry --------------------


async def test_nobody_has_an_address_that_was_never_named(chart: Chart) -> None:
    assert await chart.look_up(named("fax1")) is None


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("lifetime", [None, timedelta(hours=24), timedelta(microseconds=1)])
async def test_a_binding_comes_back_as_it_was_put(chart: Chart, source: Source, lifetime: timedelta | None) -> None:
    expires = NOW + lifetime if lifetime else None
    proof = Proof.of_greeting("fax1.office.lan") if source is Source.AGENT else None
    binding = Binding(named("fax1"), THERE, NOW, expires, source, "fax1@office.lan", proof)
    await chart.bind(binding)
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"), binding)


@pytest.mark.parametrize(
    "endpoint",
    ["10.0.0.7", "10.0.0.7:65535", "[2001:db8::7]:25", "[fe80::7%eth0]:2525", "[fe80::7%br-lan.1]:25", "[::1]:1"],
)
async def test_every_kind_of_endpoint_comes_back(chart: Chart, endpoint: str) -> None:
    await chart.bind(bound("fax1", Endpoint.parse(endpoint)))
    entry = await chart.look_up(named("fax1"))
    assert entry
    assert entry.binding
    assert entry.binding.endpoint == Endpoint.parse(endpoint)


async def test_a_time_in_another_zone_is_the_same_time(chart: Chart) -> None:
    tokyo = NOW.astimezone(timezone(timedelta(hours=9)))
    await chart.bind(Binding(named("fax1"), HERE, tokyo, tokyo + timedelta(hours=1)))
    entry = await chart.look_up(named("fax1"))
    assert entry
    assert entry.binding
    assert (entry.binding.updated, entry.binding.expires) == (NOW, NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("fax1@office.lan", "FAX1@Office.LAN"),
        ("Fax1@OFFICE.lan", "fax1"),
        ("büro@office.lan", "BU\u0308RO@office.lan"),  # composed or not
        ("ファクス@office.lan", "ﾌｧｸｽ@office.lan"),  # full and half width
        ("fax@büro.lan", "fax@xn--bro-hoa.lan"),
        ('"fax1"@office.lan', "fax1@office.lan"),
        ('"a b"@office.lan', '"A B"@office.lan'),
        ("fax@[IPv6:2001:db8::7]", "fax@[ipv6:2001:DB8:0::7]"),
    ],
)
async def test_every_spelling_of_an_address_finds_it(chart: Chart, written: str, asked: str) -> None:
    await chart.bind(bound(written))
    entry = await chart.look_up(named(asked))
    assert entry
    assert entry.address == named(written)
    assert str(entry.address) == str(named(written))
    assert await chart.add(named(asked)) is False
    await chart.bind(bound(asked, THERE))
    assert len(await all_entries(chart)) == 1
    assert await chart.remove(named(written)) is True


async def test_an_expired_binding_is_given_too(chart: Chart) -> None:
    long_ago = datetime(1999, 1, 1, tzinfo=UTC)
    binding = Binding(named("fax1"), HERE, long_ago, long_ago + timedelta(hours=1))
    await chart.bind(binding)
    entry = await chart.look_up(named("fax1"))
    assert entry == Entry(named("fax1"), binding)
    assert not binding.is_live(NOW)
    assert await all_entries(chart) == [entry]
    assert await chart.bound_to(HERE) == [binding]


# --- changes --------------------


async def test_a_binding_replaces_the_former_one(chart: Chart) -> None:
    await chart.bind(Binding(named("fax1"), HERE, NOW, NOW + timedelta(hours=1), Source.AGENT, "fax1@office.lan"))
    await chart.bind(bound("fax1", THERE))
    assert await all_entries(chart) == [Entry(named("fax1"), bound("fax1", THERE))]


async def test_unbinding_keeps_a_known_terminal(chart: Chart) -> None:
    await chart.bind(bound("fax1"))
    assert await chart.unbind(named("fax1")) is True
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"))
    assert await chart.unbind(named("fax1")) is False
    assert await chart.unbind(named("stranger")) is False
    assert await chart.look_up(named("stranger")) is None


async def test_unbinding_from_an_endpoint_leaves_who_has_moved_on(chart: Chart) -> None:
    await chart.bind(bound("fax1", THERE))
    assert await chart.unbind(named("fax1"), HERE) is False
    assert await chart.unbind(named("fax1"), Endpoint(THERE.host)) is False  # another port
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"), bound("fax1", THERE))
    assert await chart.unbind(named("fax1"), THERE) is True
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"))
    assert await chart.unbind(named("stranger"), THERE) is False


async def test_adding_makes_known_once_and_takes_nothing_away(chart: Chart) -> None:
    assert await chart.add(named("fax1")) is True
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"))
    assert await chart.add(named("fax1")) is False
    await chart.bind(bound("fax1"))
    assert await chart.add(named("fax1")) is False
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"), bound("fax1"))


async def test_details_stay_through_bindings_and_go_with_the_entry(chart: Chart) -> None:
    details = Details.of([("facsimileTelephoneNumber", "+81 3 1234"), ("o", "Büro, 2nd floor"), ("o", "ファクス")])
    assert await chart.describe(named("fax1"), details) is False
    await chart.add(named("fax1"))
    assert await chart.describe(named("fax1"), details) is True
    assert await chart.look_up(named("FAX1")) == Entry(named("fax1"), None, details)
    await chart.bind(bound("fax1"))
    await chart.bind_many([bound("fax1", THERE)])
    assert await all_entries(chart) == [Entry(named("fax1"), bound("fax1", THERE), details)]
    await chart.unbind(named("fax1"))
    assert await chart.add(named("fax1")) is False
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"), None, details)
    assert await chart.describe(named("fax1"), NO_DETAILS) is True
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"))
    await chart.describe(named("fax1"), details)
    await chart.remove(named("fax1"))
    await chart.bind(bound("fax1"))
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"), bound("fax1"))


async def test_entries_go_on_after_a_key(chart: Chart) -> None:
    for name in ("c", "a", "b"):
        await chart.add(named(name))
    assert [entry.address.local async for entry in chart.entries(named("a").key)] == ["b", "c"]
    assert [entry.address.local async for entry in chart.entries("b")] == ["b", "c"]
    assert [entry async for entry in chart.entries(named("c").key)] == []


async def test_removing_forgets_an_address_bound_or_not(chart: Chart) -> None:
    await chart.bind(bound("fax1"))
    await chart.add(named("fax2"))
    assert await chart.remove(named("fax1")) is True
    assert await chart.remove(named("fax2")) is True
    assert await chart.remove(named("fax1")) is False
    assert await all_entries(chart) == []
    assert await chart.bound_to(HERE) == []


async def test_ten_thousand_bindings_are_told_in_order_of_their_keys(chart: Chart) -> None:
    bindings = [
        Binding(named(f"Fax{number * 7919 % 10_000}"), Endpoint(f"10.1.{number // 250}.{number % 250}"), NOW)
        for number in range(10_000)
    ]
    told: list[int] = []
    assert await chart.bind_many(iter(bindings), told.append) == 10_000
    assert told == sorted(set(told))
    assert told[-1] == 10_000
    entries = await all_entries(chart)
    assert [entry.binding for entry in entries] == sorted(bindings, key=lambda binding: binding.address.key)


async def test_entries_are_in_order_of_code_points(chart: Chart) -> None:
    names = ["zebra", "Ärger", "fax 1", "fax.1", "fax-1", "ファクス", "𝔣𝔞𝔵", "fax1", "FAX10"]
    for name in names:
        await chart.add(named(f'"{name}"@office.lan'))
    told = [entry.address.key async for entry in chart.entries()]
    assert told == sorted(named(f'"{name}"@office.lan').key for name in names)


async def test_binding_many_takes_no_bindings_and_takes_an_address_twice(chart: Chart) -> None:
    assert await chart.bind_many([]) == 0
    assert await chart.bind_many([bound("fax1"), bound("FAX1", THERE)]) == 2
    assert await all_entries(chart) == [Entry(named("fax1"), bound("fax1", THERE))]


async def test_what_the_bindings_raise_comes_out(chart: Chart) -> None:
    def broken() -> Iterator[Binding]:
        yield bound("fax1")
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await chart.bind_many(broken())
    await chart.bind(bound("fax2"))


async def test_bindings_are_found_by_their_endpoint(chart: Chart) -> None:
    for name, endpoint in {
        "b": "10.0.0.7",
        "a": "10.0.0.7:25",
        "port": "10.0.0.7:2525",
        "v6": "[fe80::7%eth0]:25",
        "zone": "[fe80::7%eth1]:25",
        "nozone": "[fe80::7]:25",
    }.items():
        await chart.bind(bound(name, Endpoint.parse(endpoint)))
    await chart.add(named("known"))

    async def there(endpoint: str) -> list[str]:
        return sorted(binding.address.local for binding in await chart.bound_to(Endpoint.parse(endpoint)))

    assert await there("10.0.0.7:25") == ["a", "b"]
    assert await there("10.0.0.7:2525") == ["port"]
    assert await there("[fe80::7%eth0]:25") == ["v6"]
    assert await there("[fe80::7]:25") == ["nozone"]
    assert await there("10.0.0.9") == []
    await chart.bind(bound("a", THERE))
    await chart.unbind(named("b"))
    assert await there("10.0.0.7:25") == []


async def test_an_endpoint_that_changed_hands_leads_to_its_new_terminal_only(chart: Chart, other: Chart) -> None:
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)

    def leased(name: str, minutes: int, source: Source = Source.AGENT) -> Binding:
        updated = since + timedelta(minutes=minutes)
        return Binding(named(name), HERE, updated, since + timedelta(days=1), source, named(name).key)

    dropped: list[str] = []

    def note(binding: Binding, _why: str) -> None:
        dropped.append(binding.address.local)

    await chart.bind(leased("copier", 0, Source.ADMINISTRATOR))
    await chart.bind(leased("fax1", 1))
    await make_way(chart, leased("fax2", 2), datetime.now(UTC), note)
    await chart.bind(leased("fax2", 2))
    assert dropped == ["fax1"]
    await other.bind(leased("fax3", 3))  # by somebody who asks no registrar
    await settle(chart, named("fax3"), datetime.now(UTC), note)
    assert dropped in (["fax1", "fax2"], ["fax1"])  # a directory of ours sees to it by itself
    known = {entry.address.local: entry.binding is not None for entry in await all_entries(other)}
    assert known == {"copier": True, "fax1": False, "fax2": False, "fax3": True}


async def test_many_callers_at_once_all_get_their_way(chart: Chart) -> None:
    bindings = [bound(f"fax{number}", Endpoint("10.0.0.1", number + 1)) for number in range(300)]
    await asyncio.gather(*(chart.bind(binding) for binding in bindings))
    entries = await asyncio.gather(*(chart.look_up(binding.address) for binding in bindings))
    assert [entry and entry.binding for entry in entries] == bindings


async def test_a_caller_who_gives_up_harms_nobody(chart: Chart) -> None:
    tasks = [asyncio.ensure_future(chart.bind(bound(f"fax{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for number in range(1, 100, 2):
        assert await chart.look_up(named(f"fax{number}")) == Entry(named(f"fax{number}"), bound(f"fax{number}"))


# --- watching --------------------


async def test_a_watcher_is_told_of_bindings_and_renewals_from_now_on(chart: Chart) -> None:
    await chart.bind(bound("before"))
    watch = chart.watch()
    future = await begin(watch)
    await chart.bind(bound("fax1"))
    assert await future == named("fax1")
    await chart.bind(bound("fax1"))
    assert await anext(watch) == named("fax1")


async def test_a_watcher_is_told_of_nothing_but_bindings(chart: Chart) -> None:
    await chart.bind(bound("old"))
    await chart.add(named("older"))
    future = await begin(chart.watch())
    await chart.add(named("known"))
    await chart.unbind(named("old"))
    await chart.remove(named("older"))
    await chart.bind(bound("fax1"))
    assert await future == named("fax1")


async def test_an_address_removed_and_bound_again_is_told_again(chart: Chart) -> None:
    watch = chart.watch()
    future = await begin(watch)
    await chart.bind(bound("fax1"))
    assert await future == named("fax1")
    await chart.remove(named("fax1"))
    await chart.bind(bound("fax1"))
    assert await anext(watch) == named("fax1")


async def test_every_watcher_is_told_of_every_binding_of_many(chart: Chart) -> None:
    expected = {named(f"fax{number}") for number in range(1000)}

    async def collect() -> set[MailAddress]:
        seen: set[MailAddress] = set()
        async for address in chart.watch():
            seen.add(address)
            if seen == expected:
                return seen
        return seen

    watchers = [asyncio.ensure_future(collect()) for _ in range(3)]
    await asyncio.sleep(0)
    await chart.bind_many(bound(f"fax{number}") for number in range(1000))
    assert await asyncio.gather(*watchers) == [expected] * 3


async def test_a_watcher_who_leaves_leaves_the_others_watching(chart: Chart) -> None:
    leaving, staying = await begin(chart.watch()), await begin(chart.watch())
    leaving.cancel()
    await asyncio.sleep(0)
    await chart.bind(bound("fax1"))
    assert await staying == named("fax1")


async def test_a_change_through_another_handle_is_told(chart: Chart, other: Chart) -> None:
    future = await begin(chart.watch())
    await other.bind(bound("fax1"))
    assert await future == named("fax1")
    assert await chart.look_up(named("fax1")) == Entry(named("fax1"), bound("fax1"))


async def test_a_change_by_another_process_is_told_and_found(
    chart: Chart, start: Callable[[], Awaitable[OtherProcess]]
) -> None:
    process = await start()
    watch = chart.watch()
    future = await begin(watch)
    await process.ask("bind fax1@office.lan [fe80::7%eth0]:25")
    assert await future == named("fax1")
    entry = await chart.look_up(named("fax1"))
    assert entry
    assert entry.binding
    assert entry.binding.endpoint == Endpoint("fe80::7", 25, "eth0")


# --- several processes, and the end --------------------


async def test_processes_that_all_write_lose_nothing(
    chart: Chart, start: Callable[[], Awaitable[OtherProcess]]
) -> None:
    count = 100
    processes = [await start(), await start()]
    expected = {named(f"{name}{number}") for name in "abo" for number in range(count)} | {named("shared")}
    await chart.look_up(named("shared"))  # makes a document that is new
    watch = chart.watch()
    first = await begin(watch)
    probes: set[MailAddress] = set()
    while not first.done():  # what others write before it has begun is not told
        probes.add(named(f"probe{len(probes)}"))
        await chart.bind(bound(f"probe{len(probes) - 1}"))
        await asyncio.wait({first}, timeout=1)

    async def watch_all() -> None:
        missing = set(expected)
        async for address in watch:
            missing.discard(address)
            if not missing:
                return

    async def write_too() -> None:
        for number in range(count):
            await chart.bind(bound(f"o{number}"))

    watcher = asyncio.ensure_future(watch_all())
    await asyncio.gather(
        *(process.ask(f"hammer {name} {count}") for process, name in zip(processes, "ab", strict=True)), write_too()
    )
    await watcher
    assert {entry.address for entry in await all_entries(chart) if entry.binding} == expected | probes


async def test_what_was_answered_outlives_a_killed_process(
    settings: Settings, start: Callable[[], Awaitable[OtherProcess]]
) -> None:
    process = await start()
    for number in range(20):
        await process.ask(f"bind fax{number}@office.lan 10.0.0.7")
    process.process.send_signal(signal.SIGKILL)
    await process.process.wait()
    chart = open_chart(settings)
    assert {entry.address for entry in await all_entries(chart)} == {named(f"fax{number}") for number in range(20)}
    await chart.close()


async def test_what_was_bound_is_there_when_opened_again(settings: Settings, chart: Chart) -> None:
    await chart.bind(bound("fax1"))
    await chart.add(named("fax2"))
    await chart.close()
    again = open_chart(settings)
    assert await all_entries(again) == [Entry(named("fax1"), bound("fax1")), Entry(named("fax2"))]
    await again.close()


async def test_a_closed_chart_says_that_it_cannot_be_asked(chart: Chart) -> None:
    await chart.bind(bound("fax1"))
    await asyncio.gather(chart.close(), chart.close())
    await chart.close()
    address = named("fax1")
    for question in (
        chart.look_up(address),
        chart.bind(bound("fax1")),
        chart.bind_many([bound("fax1")]),
        chart.unbind(address),
        chart.add(address),
        chart.remove(address),
        all_entries(chart),
        chart.bound_to(HERE),
    ):
        with pytest.raises(ChartUnavailable):
            await question


async def test_closing_ends_the_watch(chart: Chart) -> None:
    future = await begin(chart.watch())
    await chart.close()
    with pytest.raises(StopAsyncIteration):
        await future
