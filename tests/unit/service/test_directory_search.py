"""What a search looks at: never less than what matches, and little where the filter names addresses."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.directory_running import BASE, DOMAIN, NOW, SUFFIX, Directory, address, binding

from lanpost.errors import DirectoryRefused, InvalidAddress
from lanpost.model.binding import Entry
from lanpost.model.details import Details
from lanpost.service.directory_matching import compiled
from lanpost.service.directory_search import MAX_ADDRESSES, Search, plan_of
from lanpost.service.directory_tree import ChartNode, Node, name_parts
from lanpost.wire import ldap_filter as f
from lanpost.wire.ldap_filter_text import parse_filter
from lanpost.wire.ldap_messages import ResultCode, Scope


def keys(text: str) -> list[str] | None:
    plan = plan_of(parse_filter(text), DOMAIN)
    return None if plan.addresses is None else [each.key for each in plan.addresses]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(mail=fax1@office.lan)", ["fax1@office.lan"]),
        ("(mailLocalAddress=FAX1@office.lan)", ["fax1@office.lan"]),
        ("(mail= fax1@office.lan )", ["fax1@office.lan"]),
        ("(lanpostKey=fax 1@office.lan)", None),
        ("(lanpostKey=fäx1@office.lan)", ["fäx1@office.lan"]),
        ("(cn=fax1)", ["fax1@office.lan"]),
        ("(cn=fax1@else.where)", ["fax1@else.where"]),
        ("(cn=fax 1)", None),
        ("(mail=no@such@thing)", []),
        ("(mail=\\ff)", []),
        ("(&(mail=fax1@office.lan)(objectClass=*))", ["fax1@office.lan"]),
        ("(&(|(cn=a)(cn=b))(mail=c@office.lan))", ["c@office.lan"]),
        ("(|(cn=a)(mail=b@office.lan))", ["a@office.lan", "b@office.lan"]),
        ("(|(cn=a)(o=b))", None),
        ("(!(cn=a))", None),
        ("(cn=a*)", None),
        ("(objectClass=*)", None),
        ("(cn~=a)", None),
        ("(unknown=a)", None),
        ("(&)", None),
    ],
)
def test_addresses_that_a_filter_names(text: str, expected: list[str] | None) -> None:
    assert keys(text) == expected


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("(cn=Fa*)", "fa"), ("(mail=fa*x)", "fa"), ("(&(objectClass=*)(cn=f*)(mail=fax*))", "fax")],
)
def test_a_beginning_is_a_prefix_of_keys(text: str, prefix: str) -> None:
    assert plan_of(parse_filter(text), DOMAIN).prefix == prefix


@pytest.mark.parametrize("text", ["(cn=*fa)", "(cn=ü*)", "(o=fa*)", "(|(cn=fa*)(cn=fb*))", "(!(cn=fa*))"])
def test_no_prefix(text: str) -> None:
    assert plan_of(parse_filter(text), DOMAIN).prefix == ""


def test_very_many_addresses_are_not_looked_up_one_by_one() -> None:
    one_by_one = f.Or(tuple(f.Equals("cn", b"fax%d" % number) for number in range(MAX_ADDRESSES)))
    assert plan_of(one_by_one, DOMAIN).addresses is not None
    assert plan_of(f.Or((*one_by_one.filters, f.Equals("cn", b"more"))), DOMAIN).addresses is None


# A chart with whatever names may hold, and filters about it.

LETTERS = 'aAbx1._-@ "\\,+=#é'
LOCALS = st.text(alphabet=LETTERS, min_size=1, max_size=4).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)


def is_address(text: str) -> bool:
    try:
        address(text)
    except InvalidAddress:
        return False
    return True


NAMES = st.builds(
    lambda local, domain: f"{local}@{domain}", LOCALS, st.sampled_from([DOMAIN, "b.lan", "é.lan"])
).filter(is_address)


@st.composite
def charts(draw: st.DrawFn) -> Directory:
    directory = Directory()
    for name in draw(st.lists(NAMES, max_size=6)):
        who = address(name)
        bound = binding(name, lasts=draw(st.sampled_from([0.0, 60.0]))) if draw(st.booleans()) else None
        details = (
            Details.of([("o", draw(st.sampled_from(["a", "Ab", "b x"])))]) if draw(st.booleans()) else Details()
        )
        chart: Any = directory.chart
        chart.known[who] = Entry(who, bound, details)
    return directory


ATTRIBUTES = st.sampled_from(
    ["cn", "mail", "mailLocalAddress", "lanpostKey", "o", "objectClass", "ipHostNumber", "unknown"]
)
TEXTS = st.one_of(
    NAMES,
    NAMES.map(lambda name: address(name).key),
    NAMES.map(lambda name: address(name).local),
    NAMES.map(lambda name: str(address(name)).upper()),
    st.text(alphabet=LETTERS, max_size=3),
    st.sampled_from(["device", "ipHost", "10.0.0.7", "a", "Ab"]),
).map(str.encode)
FILTERS = st.recursive(
    st.one_of(
        st.builds(f.Equals, ATTRIBUTES, TEXTS),
        st.builds(f.Present, ATTRIBUTES),
        st.builds(f.Substrings, ATTRIBUTES, TEXTS, st.just(()), st.just(b"")),
        st.builds(f.Extensible, ATTRIBUTES, st.just(""), TEXTS, st.booleans()),
    ),
    lambda inner: st.one_of(
        st.builds(f.Not, inner),
        st.builds(f.And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(f.Or, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=4,
)


async def found_by(search: Search) -> list[str]:
    return [node.name async for node in search.looked_at() if node is not None and search.matches(node)]


def everything(directory: Directory) -> list[Node]:
    tree = directory.tree
    chart: Any = directory.chart
    entries = sorted(chart.known.values(), key=lambda entry: entry.address.key)
    return [tree.top, tree.chart, *(ChartNode(tree, entry, NOW) for entry in entries)]


def blank_free(directory: Directory) -> bool:
    """Names that begin or end with blanks are other addresses than those without, and yet the same `cn`."""
    chart: Any = directory.chart
    return all(who.local == " ".join(who.local.split()) for who in chart.known)


@settings(max_examples=500, deadline=None)
@given(charts().filter(blank_free), FILTERS)
def test_what_is_found_is_what_matches_of_all_there_is(directory: Directory, searched: f.Filter) -> None:
    assume('"' not in repr(searched))  # an address with quotes that it does not need is found, as in a mail
    search = Search(directory.tree, directory.chart, SUFFIX, Scope.SUBTREE, searched, NOW)
    matches = compiled(searched, name_parts)
    assert asyncio.run(found_by(search)) == [node.name for node in everything(directory) if matches(node) is True]


FIXED = ["", "cn=Subschema", SUFFIX, BASE]


@pytest.mark.parametrize(
    ("base", "scope", "expected"),
    [
        ("", Scope.BASE, [""]),
        ("", Scope.ONE, [SUFFIX]),
        ("", Scope.SUBTREE, [SUFFIX, BASE, f"cn=fax1,{BASE}", f"cn=fax2,{BASE}"]),
        ("cn=Subschema", Scope.BASE, ["cn=Subschema"]),
        ("CN = subschema", Scope.SUBTREE, ["cn=Subschema"]),
        ("cn=Subschema", Scope.ONE, []),
        (SUFFIX, Scope.BASE, [SUFFIX]),
        (SUFFIX, Scope.ONE, [BASE]),
        ("DC=Office, DC=LAN", Scope.SUBTREE, [SUFFIX, BASE, f"cn=fax1,{BASE}", f"cn=fax2,{BASE}"]),
        (BASE, Scope.BASE, [BASE]),
        (BASE, Scope.ONE, [f"cn=fax1,{BASE}", f"cn=fax2,{BASE}"]),
        (BASE, Scope.SUBTREE, [BASE, f"cn=fax1,{BASE}", f"cn=fax2,{BASE}"]),
        (f"cn=FAX1,{BASE}", Scope.BASE, [f"cn=fax1,{BASE}"]),
        (f"cn=fax1@office.lan,{BASE}", Scope.SUBTREE, [f"cn=fax1,{BASE}"]),
        (f"mail=fax1@office.lan,{BASE}", Scope.BASE, [f"cn=fax1,{BASE}"]),
        (f"cn=fax1,{BASE}", Scope.ONE, []),
    ],
)
async def test_base_and_scope(base: str, scope: Scope, expected: list[str]) -> None:
    directory = Directory()
    await directory.chart.add(address("fax1"))
    await directory.chart.add(address("fax2"))
    search = Search(directory.tree, directory.chart, base, scope, f.Present("objectClass"), NOW)
    assert await found_by(search) == expected


@pytest.mark.parametrize(
    ("base", "code", "matched"),
    [
        ("no name", ResultCode.INVALID_DN_SYNTAX, ""),
        ("dc=else,dc=where", ResultCode.NO_SUCH_OBJECT, ""),
        (f"ou=people,{SUFFIX}", ResultCode.NO_SUCH_OBJECT, SUFFIX),
        (f"cn=lease,cn=fax1,{BASE}", ResultCode.NO_SUCH_OBJECT, BASE),
        (f"cn=a+o=b,{BASE}", ResultCode.NO_SUCH_OBJECT, BASE),
        (f"cn=nobody,{BASE}", ResultCode.NO_SUCH_OBJECT, BASE),
        (f"cn=#0401,{BASE}", ResultCode.NO_SUCH_OBJECT, BASE),
    ],
)
@pytest.mark.parametrize("scope", list(Scope))
async def test_a_base_that_is_not_there_is_said_so(base: str, scope: Scope, code: int, matched: str) -> None:
    directory = Directory()
    with pytest.raises(DirectoryRefused) as refusal:
        await found_by(Search(directory.tree, directory.chart, base, scope, f.Present("cn"), NOW))
    assert (refusal.value.code, refusal.value.matched) == (code, matched)


@pytest.mark.parametrize("searched", ["(objectClass=*)", "(|(ou=chart)(cn=fax*))", "(mail=*)", "(cn=fax2)"])
async def test_it_can_be_taken_up_where_it_was_left(searched: str) -> None:
    directory = Directory()
    for name in ("fax1", "fax2", "fax3"):
        await directory.chart.add(address(name))

    def search() -> Search:
        return Search(directory.tree, directory.chart, "", Scope.SUBTREE, parse_filter(searched), NOW)

    whole = await found_by(search())
    found, key, fixed = [], "", 0
    for _ in itertools.repeat(None, 10):
        again = search()
        nodes = [node async for node in again.looked_at(key, fixed) if node is not None and again.matches(node)]
        if not nodes:
            break
        found.append(nodes[0].name)
        if isinstance(nodes[0], ChartNode):
            key = nodes[0].entry.address.key
        else:
            fixed = again.fixed_until(nodes[0])
    assert found == whole
