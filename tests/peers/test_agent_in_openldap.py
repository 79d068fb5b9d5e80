"""A terminal registers with OpenLDAP under deploy/openldap's rules: it changes its own entry and nothing else."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.slapd import Slapd

from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.content.generalized_time import time_of
from lanpost.errors import RegistrarUntrusted, RegistrationRefused
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.endpoint import Endpoint
from lanpost.model.token import EnrolmentToken
from lanpost.net import ldap_registration
from lanpost.net.own_addresses import own_addresses
from lanpost.net.registration_client import RegistrationClient

pytestmark = pytest.mark.peer

FAX = MailAddress.parse("fax1@office.lan")
SECRET = "the-secret-of-fax1"
DAY = timedelta(hours=24)
PLACES = ("ipHostNumber", "mailHost", "lanpostPort", "lanpostNextHop")


@pytest.fixture(params=[True, False], ids=["leases", "no leases"])
def slapd(request: pytest.FixtureRequest) -> Iterator[Slapd]:
    with Slapd(dds=request.param, tls=True) as running:
        running.add_terminal("fax1", SECRET)
        running.add_terminal("fax2", "the-secret-of-fax2")
        yield running


@pytest.fixture
def leases() -> Iterator[Slapd]:
    with Slapd(tls=True) as running:
        running.add_terminal("fax1", SECRET)
        yield running


@pytest.fixture
def stamps() -> Iterator[Slapd]:
    """A directory without leases."""
    with Slapd(dds=False, tls=True) as running:
        running.add_terminal("fax1", SECRET)
        yield running


class Far(Slapd):
    """At an address that is not loopback, where OpenLDAP's tools must use TLS too."""

    def tool(self, name: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return super().tool(name, *arguments, **{"url": self.ldaps_url, **options})


def token_of(slapd: Slapd, name: str = "fax1", url: str = "") -> EnrolmentToken:
    pem = slapd.ca_file.read_text("ascii")
    der = ssl.PEM_cert_to_DER_cert(pem)
    pin = hashlib.sha256(der).hexdigest()
    return EnrolmentToken((f"{url or slapd.ldaps_url}/{slapd.dn(name)}",), pin, FAX, SECRET, der)


def settings_of(slapd: Slapd, folder: Path) -> Settings:
    (folder / "password").write_text(slapd.password, "ascii")
    chart = ChartSettings(
        url=f"{slapd.url}/{slapd.base}", bind_dn=slapd.bind_dn, password_file=str(folder / "password")
    )
    return Settings(data=folder, chart=chart)


async def binding_of(slapd: Slapd, folder: Path) -> Binding | None:
    """As a mail server's chart finds it there."""
    chart = open_chart(settings_of(slapd, folder))
    try:
        entry = await chart.look_up(FAX)
    finally:
        await chart.close()
    assert entry is not None
    return entry.binding


def places(slapd: Slapd) -> set[str]:
    """All next hops that other mail servers find for it."""
    found = slapd.search("(mailLocalAddress=fax1@office.lan)", "lanpostNextHop")
    return {value for attributes in found.values() for value in attributes.get("lanpostNextHop", [])}


async def test_it_is_bound_renews_moves_and_leaves(slapd: Slapd, tmp_path: Path) -> None:
    before = slapd.search("(cn=fax2)")
    first = await RegistrationClient(token_of(slapd)).register(2525)
    assert first.lifetime == pytest.approx(DAY.total_seconds(), abs=5)
    found = await binding_of(slapd, tmp_path)
    assert found is not None
    assert (str(found.endpoint), found.source, found.owner) == ("127.0.0.1:2525", Source.AGENT, FAX.key)
    assert found.is_live(datetime.now(UTC))
    assert places(slapd) == {"smtp:[127.0.0.1]:2525"}

    client = RegistrationClient(token_of(slapd), source="127.0.0.9")
    for _ in range(2):
        await client.register(2525)
        assert places(slapd) == {"smtp:[127.0.0.9]:2525"}
    renewed = await binding_of(slapd, tmp_path)
    assert renewed is not None
    assert renewed.updated > found.updated

    for _ in range(2):
        await client.unregister()
        assert await binding_of(slapd, tmp_path) is None
        assert places(slapd) == set()
    await client.register(25)  # its account is there still
    assert slapd.search("(cn=fax2)") == before


async def test_over_starttls_a_terminal_trusts_and_is_trusted_as_well() -> None:
    """ldap:// at an address that is not loopback: slapd takes no password there before TLS has begun."""
    host = next((own for own in own_addresses() if "." in own), None)
    if host is None:
        pytest.skip("this machine has no IPv4 address but loopback")
    with Far(host, tls=True) as running:
        running.add_terminal("fax1", SECRET)
        found = await RegistrationClient(token_of(running, url=running.url)).register(25)
        assert found.endpoint == f"{host}:25"
        assert places(running) == {f"smtp:[{host}]:25"}


async def test_what_the_mail_server_wrote_for_good_gives_way(leases: Slapd, tmp_path: Path) -> None:
    chart = open_chart(settings_of(leases, tmp_path))
    await chart.bind(Binding(FAX, Endpoint("10.0.0.99"), datetime.now(UTC)))
    await RegistrationClient(token_of(leases)).register(2525)
    assert places(leases) == {"smtp:[127.0.0.1]:2525"}
    # And the other way round, with a binding that ends.
    now = datetime.now(UTC)
    await chart.bind(Binding(FAX, Endpoint("10.0.0.98"), now, now + timedelta(hours=1)))
    assert places(leases) == {"smtp:[10.0.0.98]:25"}
    await chart.close()
    await RegistrationClient(token_of(leases)).register(2525)
    assert places(leases) == {"smtp:[127.0.0.1]:2525"}
    found = await binding_of(leases, tmp_path)
    assert found is not None
    lease = leases.search("(objectClass=dynamicObject)", "entryTtl")
    (seconds,) = (float(attributes["entryTtl"][0]) for attributes in lease.values())
    assert found.expires is not None
    assert (found.expires - found.updated).total_seconds() == pytest.approx(seconds, abs=10)


async def test_a_renewal_arms_the_lease_anew(leases: Slapd) -> None:
    client = RegistrationClient(token_of(leases))
    await client.register(25)
    lease = f"cn=lease,{leases.dn('fax1')}"
    assert leases.tool("ldapexop", "refresh", lease, "7200").returncode == 0
    # The directory gives it two hours now, and what the terminal says agrees.
    found = await client.register(25)
    assert found.lifetime == pytest.approx(7200, abs=5)
    shown = leases.search("(objectClass=dynamicObject)", "entryTtl", "lanpostUpdated", "lanpostExpires")[lease]
    assert 7190 <= int(shown["entryTtl"][0]) <= 7200
    stated = time_of(shown["lanpostExpires"][0]) - time_of(shown["lanpostUpdated"][0])
    assert stated.total_seconds() == pytest.approx(7200, abs=5)


async def test_the_directorys_clock_counts_whatever_the_terminals_says(
    slapd: Slapd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class In1970(datetime):
        @classmethod
        def now(cls, tz: object = None) -> In1970:
            return cls(1970, 1, 1, 0, 7, tzinfo=UTC)

    monkeypatch.setattr(ldap_registration, "datetime", In1970)
    found = await RegistrationClient(token_of(slapd)).register(2525)
    assert found.lifetime == pytest.approx(DAY.total_seconds(), abs=5)
    held = await binding_of(slapd, tmp_path)
    assert held is not None
    assert held.expires is not None
    assert abs(held.expires - datetime.now(UTC) - DAY) < timedelta(minutes=1)


async def test_a_terminal_of_ours_cannot_write_anothers_entry(slapd: Slapd) -> None:
    """Whatever a stolen token is made to name, slapd lets its secret log in as its own entry only."""
    with pytest.raises(RegistrationRefused) as refused:
        await RegistrationClient(token_of(slapd, "fax2")).register(25)
    assert refused.value.http_status == 401
    for name in ("fax2", "lease,cn=fax2"):
        change = f"dn: cn={name},{slapd.base}\nchangetype: modify\nreplace: lanpostPort\nlanpostPort: 9\n"
        done = slapd.tool("ldapmodify", stdin=change, bind=(slapd.dn("fax1"), SECRET))
        assert done.returncode in (50, 32), done.stdout


async def test_refusals_tell_what_to_do(stamps: Slapd) -> None:
    token = token_of(stamps)
    with pytest.raises(RegistrationRefused, match="terminal rotate --ldap"):
        await RegistrationClient(replace(token, secret="wrong")).register(25)
    # An administrator forbids it.
    stamps.stop()
    stamps.reconfigure(
        "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nreplace: olcAccess\n"
        "olcAccess: {0}to attrs=userPassword by anonymous auth\nolcAccess: {1}to * by * read\n"
    )
    stamps.start()
    with pytest.raises(RegistrationRefused, match="deploy/openldap") as refused:
        await RegistrationClient(token).register(25)
    assert refused.value.http_status == 403


async def test_a_directory_of_another_authority_is_never_trusted(stamps: Slapd, leases: Slapd) -> None:
    theirs = token_of(leases)
    with pytest.raises(RegistrarUntrusted):
        await RegistrationClient(replace(theirs, urls=token_of(stamps).urls)).register(25)
