"""A company's directory that was there before, in a real slapd: other attribute names, a filter, hostile values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.slapd import Slapd

from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.errors import ChartUnavailable, ConfigurationError, InvalidAddress
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import Chart

pytestmark = pytest.mark.peer

PEOPLE = "ou=people,dc=office,dc=lan"
OTHERS_RULES = (
    "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nadd: olcAccess\n"
    f'olcAccess: {{1}}to dn.subtree="{PEOPLE}" by dn.exact="cn=mailserver,dc=office,dc=lan" write by * read\n'
)
PERSON = "objectClass: inetOrgPerson\nsn: x\ncn: x\n"
COMPANY = f"""\
dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: uid=anna,{PEOPLE}
{PERSON}objectClass: ipHost
mail: Anna.Berg@Office.lan
ipHostNumber: not an address
ipHostNumber: 10.1.0.7
roomNumber: 2525
o: Sales
telephoneNumber: +49 30 1234

dn: uid=ben,{PEOPLE}
{PERSON}objectClass: inetLocalMailRecipient
mail: ben@office.lan
mailLocalAddress: boss@office.lan
mailHost: [10.1.0.8]

dn: uid=carl,{PEOPLE}
{PERSON}objectClass: inetLocalMailRecipient
mail: carl@office.lan
mailHost: mail.example.com

dn: uid=twin1,{PEOPLE}
{PERSON}objectClass: ipHost
mail: twin@office.lan
ipHostNumber: 10.1.0.21

dn: uid=twin2,{PEOPLE}
{PERSON}objectClass: ipHost
mail: twin@office.lan
ipHostNumber: 10.1.0.22

dn: uid=star,{PEOPLE}
{PERSON}objectClass: ipHost
mail: a*b@office.lan
ipHostNumber: 10.1.0.31

dn: uid=bracket,{PEOPLE}
{PERSON}objectClass: ipHost
mail: "a(b)\\\\c"@office.lan
ipHostNumber: 10.1.0.32
"""

MOVERS = f"""\
dn: uid=mover1,{PEOPLE}
{PERSON}objectClass: ipHost
mail: mover1@office.lan
ipHostNumber: 10.1.0.7
roomNumber: 2525
o: Sales

dn: uid=mover2,{PEOPLE}
{PERSON}objectClass: inetLocalMailRecipient
mail: mover2@office.lan
mailHost: [10.1.0.18]
"""


@pytest.fixture(scope="module")
def directory() -> Iterator[Slapd]:
    with Slapd(dds=False, changes=OTHERS_RULES) as slapd:
        done = slapd.as_root("ldapadd", stdin=COMPANY)
        assert done.returncode == 0, done.stdout
        yield slapd


Open = Callable[..., Awaitable[Chart]]


@pytest.fixture
async def opened(directory: Slapd, tmp_path: Path) -> AsyncIterator[Open]:
    """The directory as a chart, with these settings."""
    (tmp_path / "password").write_text(directory.password)
    async with AsyncExitStack() as stack:

        async def open_one(**settings: Any) -> Chart:
            chart = ChartSettings(
                url=f"{directory.url}/{PEOPLE}",
                bind_dn=directory.bind_dn,
                password_file=str(tmp_path / "password"),
                **{"address_attribute": "mail", **settings},
            )
            one = open_chart(Settings(data=tmp_path, chart=chart))
            stack.push_async_callback(one.close)
            return one

        yield open_one


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


async def place(chart: Chart, address: str) -> str:
    """Where it is; "nowhere", or "unknown"."""
    entry = await chart.look_up(named(address))
    if entry is None:
        return "unknown"
    return str(entry.binding.endpoint) if entry.binding else "nowhere"


async def test_people_are_found_by_their_mail_attribute(opened: Open) -> None:
    chart = await opened(port_attribute="roomNumber")
    entry = await chart.look_up(named("anna.BERG"))
    assert entry is not None
    assert entry.binding is not None
    assert (entry.binding.endpoint, entry.binding.source) == (Endpoint("10.1.0.7", 2525), Source.LDAP)
    assert entry.binding.is_live(datetime.now(UTC) + timedelta(days=3650))
    assert entry.details.values("o") == ("Sales",)
    # An IP in brackets is one; a host name is not looked up, and leads nowhere.
    assert await place(chart, "ben") == "10.1.0.8:25"
    assert await place(chart, "carl") == "nowhere"
    assert await place(chart, "boss") == "unknown"
    assert {str(each.address) async for each in chart.entries()} >= {"Anna.Berg@Office.lan", "carl@office.lan"}


async def test_another_attribute_holds_the_host(opened: Open) -> None:
    chart = await opened(host_attribute="mailHost")
    assert await place(chart, "ben") == "10.1.0.8:25"
    assert [str(each.address) for each in await chart.bound_to(Endpoint("10.1.0.8"))] == ["ben@office.lan"]
    assert await place(chart, "anna.berg") == "nowhere"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("(mail=%s)", {"ben": "10.1.0.8:25", "boss": "unknown", "carl": "nowhere"}),
        ("(|(mail=%s)(mailLocalAddress=%s))", {"ben": "10.1.0.8:25", "boss": "10.1.0.8:25", "carl": "nowhere"}),
        ("(&(mail=%s)(ipHostNumber=*))", {"ben": "unknown", "anna.berg": "10.1.0.7:25", "carl": "unknown"}),
        ("(&(objectClass=ipHost)(mail:caseIgnoreIA5Match:=%s))", {"anna.berg": "10.1.0.7:25", "ben": "unknown"}),
    ],
)
async def test_the_directorys_own_filter_says_who_is_meant(
    opened: Open, written: str, expected: dict[str, str]
) -> None:
    chart = await opened(filter=written)
    assert {name: await place(chart, name) for name in expected} == expected


HOSTILE = [
    "*",
    "a*",
    "*)(mail=*",
    "anna.berg)(|(mail=*",
    "\\2a",
    "\\",
    "a\\*b",
    "a(b)",
    "%s",
    "ben)(uid=*",
    "anna*",
]


@pytest.mark.parametrize("filtered", ["", "(mail=%s)", "(|(mail=%s)(mailLocalAddress=%s))"])
async def test_no_address_is_more_than_itself_in_a_search(opened: Open, filtered: str) -> None:
    chart = await opened(filter=filtered)
    for local in (*HOSTILE, "ü*", "ᴬ*", "𝐚𝐧𝐧𝐚.berg*"):
        quoted = local.replace("\\", "\\\\").replace('"', '\\"')
        assert await place(chart, f'"{quoted}"@office.lan') == "unknown", local
    with pytest.raises(InvalidAddress):
        named('"\0"@office.lan')
    # And what is really there is found, whatever it is made of.
    assert await place(chart, "a*b") == "10.1.0.31:25"
    assert await place(chart, '"a(b)\\\\c"@office.lan') == "10.1.0.32:25"


async def test_of_two_entries_the_one_changed_last_counts(opened: Open, directory: Slapd) -> None:
    chart = await opened()
    for name, host in (("twin1", "10.1.0.21"), ("twin2", "10.1.0.22")):
        before = _modified(directory)
        while _modified(directory)[name] <= max(before.values()):  # the directory's clock has whole seconds
            done = directory.as_root(
                "ldapmodify",
                stdin=f"dn: uid={name},{PEOPLE}\nchangetype: modify\nreplace: description\ndescription: x\n",
            )
            assert done.returncode == 0, done.stdout
        assert await place(chart, "twin") == f"{host}:25"
    # Nobody knows which of them a terminal's word would be about.
    for change in (
        chart.bind(Binding(named("twin"), Endpoint("10.1.0.23"), datetime.now(UTC))),
        chart.unbind(named("twin")),
    ):
        with pytest.raises(
            ChartUnavailable, match=r"twin@office\.lan is in several entries, uid=twin1.* and uid=twin2"
        ):
            await change


def _modified(directory: Slapd) -> dict[str, str]:
    found = directory.search("(uid=twin*)", "uid", "modifyTimestamp", base=PEOPLE)
    return {each["uid"][0]: each["modifyTimestamp"][0] for each in found.values()}


async def test_a_terminal_moves_in_its_own_attributes_and_leaves_all_else(opened: Open, directory: Slapd) -> None:
    done = directory.as_root("ldapadd", stdin=MOVERS)
    assert done.returncode == 0, done.stdout
    for uid, host, expected in (("mover1", "ipHostNumber", "10.1.0.9"), ("mover2", "mailHost", "[10.1.0.9]")):
        chart = await opened(port_attribute="roomNumber", host_attribute=host)
        ((_, before),) = directory.search(f"(uid={uid})", base=PEOPLE).items()
        await chart.bind(Binding(named(uid), Endpoint("10.1.0.9", 26), datetime.now(UTC)))
        ((_, after),) = directory.search(f"(uid={uid})", base=PEOPLE).items()
        assert after == {**before, host: [expected], "roomNumber": ["26"]}
        assert await place(chart, uid) == "10.1.0.9:26"
    # A person without a mailHost stays one, an ipHost without an address does not.
    assert await chart.unbind(named("mover2")) is True
    assert await chart.unbind(named("mover2")) is False
    assert await place(chart, "mover2") == "nowhere"
    chart = await opened()
    with pytest.raises(ChartUnavailable, match="requires attribute 'ipHostNumber'"):
        await chart.unbind(named("mover1"))
    assert await chart.unbind(named("nobody")) is False
    for refused in (chart.add(named("new")), chart.remove(named("ben"))):
        with pytest.raises(ChartUnavailable, match="the directory's own tools"):
            await refused
    with pytest.raises(ChartUnavailable, match=r"new@office\.lan is not in the directory.*add it there first"):
        await chart.bind(Binding(named("new"), Endpoint("10.1.0.9"), datetime.now(UTC)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"filter": "(mail=%s"}, r'chart\.filter = "\(mail=%s": not a search filter.*write it as "\(mail=%s\)"'),
        ({"filter": "(mail=x)"}, "has no %s, where the mail address belongs"),
        ({"address_attribute": "mail)(x"}, 'address_attribute = "mail\\)\\(x" is no name of an attribute'),
        ({"host_attribute": "ip host"}, "host_attribute"),
        ({"port_attribute": "%s"}, "port_attribute"),
    ],
)
async def test_names_and_filters_that_cannot_be_used_are_refused_at_once(
    opened: Open, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await opened(**settings)
