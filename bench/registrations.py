"""After a power cut: every terminal registers again, mail goes on meanwhile, and nothing is lost.

`python -m bench.registrations [TERMINALS]`. A `lanpost serve` with that many enrolled terminals, all of them bound
where they were before; each registers over TLS with a secret and a source address of its own, and the chart is
looked through at the end. One mail is sent every 50 ms all the time. slapd, as deploy/openldap has it, takes as
many Modify requests of the same attributes beside it, from as many connections.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.latency import quantile
from bench.load import Probe
from bench.processes import BenchError, await_banner, cpu_seconds, free_port, pss_octets, stop
from bench.registration_load import (
    BASE,
    DOMAIN,
    Plan,
    Result,
    result_of,
    run_load,
    terminal_host,
    terminal_name,
)
from bench.renewal_model import converge
from bench.sink import StampingSink
from bench.slapd_instance import SlapdInstance
from bench.target import START_SECONDS, address
from lanpost.app.charts import open_chart
from lanpost.app.registration import ACCOUNTS_FILE
from lanpost.app.settings import Settings
from lanpost.content.directory_entry import attributes_of
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.endpoint import Endpoint
from lanpost.service.credentials import new_secret, sha256_of
from lanpost.store.accounts import SqliteAccounts
from lanpost.store.authority import Authority, Names
from lanpost.store.sqlite import transaction

TERMINALS = 100_000
IN_FLIGHT = 500
SPREAD = 5_000  # terminals of the run that takes its time; answers at the rate that a refresh request asks for
SPREAD_PER_SECOND = 50.0
SIDE_BY_SIDE = 5_000  # registrations of a round beside slapd
ROUNDS = 3
KEPT = 100  # connections that are kept, each with KEPT_REPEAT registrations
KEPT_REPEAT = 100
MAIL_SECONDS = 0.05
MAIL_OCTETS = 4096
IDLE_MAILS = 100
START_MAILS = 100
SAMPLE_SECONDS = 1.0
LIFETIME = timedelta(hours=24)
CONFIGURATION = """\
domain = "{domain}"
hostname = "mail.{domain}"
data = "data"
[smtp]
listen = ["127.0.0.1:{port}"]
[submission]
listen = ["127.0.0.1:{submission_port}"]
[pop3]
listen = ["127.0.0.1:{pop3_port}"]
[http]
listen = ["127.0.0.1:{http_port}"]
[delivery]
endpoint_ports = [25, {sink_port}]
"""


@dataclass
class Mails:
    """Single mails, one every MAIL_SECONDS, each on its own connection: milliseconds until each had arrived."""

    times: list[float] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"{len(self.times)} mails, p50 {statistics.median(self.times):.1f} ms, "
            f"p99 {quantile(self.times, 99):.1f} ms, longest {max(self.times):.1f} ms"
        )


@dataclass
class Server:
    """`lanpost serve` under measurement, and the sink of its mails."""

    folder: Path
    secrets: Path
    port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    sink_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    mails_sent: int = 0

    @property
    def roots(self) -> list[int]:
        return [self.process.pid] if self.process else []

    def configure(self) -> None:
        (self.folder / "lanpost.toml").write_text(
            CONFIGURATION.format(
                domain=DOMAIN,
                port=self.port,
                submission_port=free_port(),
                pop3_port=free_port(),
                http_port=self.http_port,
                sink_port=self.sink_port,
            ),
            "utf-8",
        )

    def start(self) -> float:
        """Seconds until it takes mail."""
        begun = time.monotonic()
        with (self.folder / "lanpost.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lanpost", "serve", "--config", str(self.folder / "lanpost.toml")],
                stdout=log,
                stderr=log,
            )
        await_banner(self.port, START_SECONDS, self.process)
        return time.monotonic() - begun


def utc_now() -> datetime:
    return datetime.now(UTC)


def mail_address(number: int) -> MailAddress:
    return MailAddress.parse(f"{terminal_name(number)}@{DOMAIN}")


def before_the_cut(number: int, now: datetime) -> Binding:
    name = mail_address(number)
    where = Endpoint(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    then = now - timedelta(hours=1)
    return Binding(name, where, then, then + LIFETIME, Source.AGENT, name.key)


def fill(server: Server, count: int) -> None:
    """Enrol all, and bind each where it was before; straight into the stores."""
    data = server.folder / "data"
    now = utc_now()
    secrets = [new_secret(mail_address(number)) for number in range(count)]
    server.secrets.write_text("\n".join(secrets) + "\n", "ascii")
    accounts = SqliteAccounts(data / ACCOUNTS_FILE)
    with transaction(accounts._writer):  # one of all: one each would take minutes  # noqa: SLF001
        for number, secret in enumerate(secrets):
            accounts.put_terminal(Terminal(mail_address(number), sha256_of(secret), now))
    accounts.close()

    async def bind() -> None:
        chart = open_chart(Settings(data=data))
        await chart.bind_many(before_the_cut(number, now) for number in range(count))
        await chart.bind(Binding(MailAddress.parse(address(1)), Endpoint("127.0.0.1", server.sink_port), now, None))
        await chart.close()

    asyncio.run(bind())


def send_mails(server: Server, sink: StampingSink, going_on: Callable[[int], bool]) -> Mails:
    """One mail after another as long as `going_on(sent)`. BenchError where one is refused or does not arrive."""
    found = Mails()
    due = time.monotonic()
    while going_on(len(found.times)):
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + MAIL_SECONDS, time.monotonic())
        server.mails_sent += 1
        begun = time.monotonic_ns()
        probe = Probe(server.port)
        probe.connect()
        probe.send(1, server.mails_sent, MAIL_OCTETS)
        answered = time.monotonic_ns()
        found.times.append((max(sink.arrival(server.mails_sent), answered) - begun) / 1e6)
        probe.close()
    return found


@dataclass
class Pressed:
    """What a load did to the server."""

    result: Result
    mails: Mails
    cpu: float  # seconds
    most_memory: int  # octets of PSS


def press(server: Server, sink: StampingSink, plan: Plan) -> Pressed:
    """Mails go on until every terminal is registered."""
    before = cpu_seconds(server.roots)
    generator = run_load(plan)
    done = threading.Event()
    results: list[Result] = []
    memory = [pss_octets(server.roots)]

    def wait() -> None:
        try:
            results.append(result_of(generator))
        finally:
            done.set()

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            memory.append(pss_octets(server.roots))

    threads = [threading.Thread(target=wait), threading.Thread(target=sample)]
    for thread in threads:
        thread.start()
    try:
        mails = send_mails(server, sink, lambda _: not done.is_set())
    finally:
        if not done.is_set():
            generator.kill()
        for thread in threads:
            thread.join()
    if not results:
        raise BenchError("the load generator failed")
    return Pressed(results[0], mails, cpu_seconds(server.roots) - before, max(memory))


def lost(server: Server, since: datetime, count: int) -> int:
    """Terminals that the chart does not have where they registered from, or not since then."""

    async def look() -> int:
        chart = open_chart(Settings(data=server.folder / "data"))
        wrong = 0
        for number in range(count):
            entry = await chart.look_up(mail_address(number))
            found = entry.binding if entry else None
            if found is None or found.endpoint != Endpoint(terminal_host(number)) or found.updated < since:
                wrong += 1
        await chart.close()
        return wrong

    return asyncio.run(look())


def say(line: str) -> None:
    print(f"  {line}", flush=True)


def tell(pressed: Pressed) -> None:
    result = pressed.result
    registered = result.registered
    say(
        f"  {registered:,} registrations in {result.seconds:.1f} s: {registered / result.seconds:,.0f}/s, "
        f"{pressed.cpu / registered * 1e3:.2f} ms of CPU each (mails' included)"
    )
    say(
        f"  a terminal waited p50 {quantile(result.waits, 50):.2f} s, p99 {quantile(result.waits, 99):.2f} s, "
        f"longest {max(result.waits):.2f} s; {result.attempts:,} attempts"
        + "".join(f", {each:,} x {why}" for why, each in sorted(result.failures.items()))
    )
    say(f"  meanwhile {pressed.mails.line()}")
    say(f"  memory (PSS) at most {pressed.most_memory / 1e6:.1f} MB")


def measure(folder: Path, short: Path, count: int) -> None:
    """`short` is a folder whose path is, for slapd's socket."""
    folder.mkdir()
    server = Server(folder, folder / "secrets")
    server.configure()
    fill(server, count)
    sink = StampingSink(server.sink_port)
    try:
        seconds = server.start()
        starting = send_mails(server, sink, lambda sent: sent < START_MAILS)
        say(f"start with {count:,} terminals: takes mail after {seconds:.2f} s; then {starting.line()}")
        rate = measure_power_cut(server, sink, count)
        with slapd(short, server.secrets, count) as directory:
            compare(server, directory, count)
    finally:
        stop(server.process)
        sink.close()
    converge(rate, count, say)


def measure_power_cut(server: Server, sink: StampingSink, count: int) -> float:
    """Returns registrations/s under full pressure."""
    idle = send_mails(server, sink, lambda sent: sent < IDLE_MAILS)
    say(f"idle: {idle.line()}; memory (PSS) {pss_octets(server.roots) / 1e6:.1f} MB")
    plan = Plan("https", server.http_port, str(server.secrets), 0, count, in_flight=IN_FLIGHT)
    few = min(SPREAD, count)
    rate = 0.0
    for text, each in (
        (f"{IN_FLIGHT} connections at any time, as fast as the server takes them", plan),
        ("all at once, with the agent's time limits and pauses", replace(plan, in_flight=0)),
        (
            f"{few:,} of them over N/{SPREAD_PER_SECOND:.0f} s, as a refresh request asks",
            replace(plan, in_flight=0, count=few, window=few / SPREAD_PER_SECOND),
        ),
    ):
        say(text)
        since = utc_now()
        pressed = press(server, sink, each)
        tell(pressed)
        if wrong := lost(server, since, each.count):
            raise BenchError(f"{wrong} terminals are not in the chart where they registered from")
        say(f"  all {each.count:,} are in the chart; memory (PSS) now {pss_octets(server.roots) / 1e6:.1f} MB")
        rate = rate or pressed.result.registered / pressed.result.seconds
    return rate


@contextmanager
def slapd(folder: Path, secrets: Path, count: int) -> Iterator[SlapdInstance]:
    """Every terminal with an entry of its own, and a password that costs slapd no more to check than ours us."""
    tls = folder / "tls"
    folder.mkdir()
    authority = Authority.open(tls, utc_now())
    authority.renew(Names(hosts=["127.0.0.1"]), utc_now())
    shutil.copy(tls / "server.pem", tls / "slapd.pem")
    directory = SlapdInstance(folder, dds=False, tls=tls)
    now = utc_now()
    lines = []
    with secrets.open("r", encoding="ascii") as words:
        for number, secret in zip(range(count), words, strict=False):
            lines.append(f"dn: cn={terminal_name(number)},{BASE}")
            entry = Entry(mail_address(number), before_the_cut(number, now))
            attributes = attributes_of(entry, DOMAIN)
            attributes["objectClass"] += (b"simpleSecurityObject",)
            attributes["userPassword"] = (b"{SHA256}" + base64.b64encode(sha256_of(secret.strip())),)
            lines += [f"{name}: {value.decode()}" for name, values in attributes.items() for value in values] + [""]
    directory.load("\n".join(lines) + "\n")
    directory.start()
    try:
        yield directory
    finally:
        directory.stop()


def compare(server: Server, directory: SlapdInstance, count: int) -> None:
    """The same loads on both in turn; medians of the rounds. No mail goes on meanwhile."""
    secrets, some, few = str(server.secrets), min(SIDE_BY_SIDE, count), min(KEPT, count)
    new = Plan("https", server.http_port, secrets, 0, some, in_flight=IN_FLIGHT)
    kept = replace(new, count=few, in_flight=few, repeat=KEPT_REPEAT)
    ldaps = directory.tls_port or 0
    loads = (
        (f"{IN_FLIGHT} connections, one registration on each, TLS", new, replace(new, protocol="ldap", port=ldaps)),
        (
            f"{IN_FLIGHT} connections, one registration on each, no TLS",
            replace(new, tls=False),
            replace(new, protocol="ldap", port=directory.port, tls=False),
        ),
        (
            f"{few} connections kept, {KEPT_REPEAT} registrations on each, TLS",
            kept,
            replace(kept, protocol="ldap", port=ldaps),
        ),
    )
    say(f"beside slapd with as many entries (bind and one Modify), {ROUNDS} rounds in turn, medians")
    for text, ours, theirs in loads:
        rates: dict[str, list[float]] = {"lanpost": [], "slapd": []}
        costs: dict[str, list[float]] = {"lanpost": [], "slapd": []}
        for _ in range(ROUNDS):
            for name, plan, roots in (("lanpost", ours, server.roots), ("slapd", theirs, directory.roots())):
                before = cpu_seconds(roots)
                result = result_of(run_load(plan))
                rates[name].append(result.registered / result.seconds)
                costs[name].append((cpu_seconds(roots) - before) / result.registered * 1e3)
        rate, cost = ({name: statistics.median(found[name]) for name in found} for found in (rates, costs))
        say(
            f"  {text}: lanpost {rate['lanpost']:,.0f}/s, {cost['lanpost']:.2f} ms of CPU each; "
            f"slapd {rate['slapd']:,.0f}/s, {cost['slapd']:.2f} ms; "
            f"{rate['lanpost'] / rate['slapd']:.2f} x, per CPU second {cost['slapd'] / cost['lanpost']:.2f} x"
        )
    memory = {
        name: pss_octets(roots) / 1e6 for name, roots in (("lanpost", server.roots), ("slapd", directory.roots()))
    }
    say("  memory (PSS) afterwards: " + ", ".join(f"{name} {each:.0f} MB" for name, each in memory.items()))


def main(count: int = TERMINALS) -> int:
    """Status 1 when something could not be measured."""
    if reason := SlapdInstance.lacks():
        print(f"registrations: slapd: {reason}", file=sys.stderr)
        return 1
    os.environ.setdefault("PYTHONPATH", "src")
    folder = Path(tempfile.mkdtemp(prefix="lanpost-bench-", dir="/var/tmp"))
    try:
        measure(folder / "lanpost", folder / "s", count)
    except BenchError as error:
        print(f"registrations: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
