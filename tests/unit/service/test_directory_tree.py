"""The directory's tree: names lead to addresses and back, and a node tells what is so at the time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.directory_running import BASE, DOMAIN, NOW, SUFFIX, address, binding

from lanpost.content.directory_schema import attribute_type, class_name
from lanpost.errors import InvalidAddress, InvalidName
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.model.details import Details
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.service.directory_tree import ChartNode, Node, Tree, name_parts, suffix_of, uuid_of

TREE = Tree(DOMAIN, mechanisms=("EXTERNAL",))
LETTERS = 'aAbx1._-@ "\\,+=#;<>é\u0130'
LOCALS = st.text(alphabet=LETTERS, min_size=1, max_size=6).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)


def parsed(text: str) -> MailAddress | None:
    try:
        return address(text)
    except InvalidAddress:
        return None


ADDRESSES = (
    st.builds(
        lambda local, domain: parsed(f"{local}@{domain}"),
        LOCALS | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,5}[a-z]", fullmatch=True),
        st.sampled_from([DOMAIN, "OFFICE.lan", "b.lan", "é.lan", "x" + DOMAIN]),
    )
    .filter(lambda found: found is not None)
    .map(lambda found: found or address("never"))
)


@given(ADDRESSES)
@example(address('"\\"1\\""'))  # its local part has quotes of its own
def test_an_entrys_name_leads_to_its_address(who: MailAddress) -> None:
    name = TREE.entry_name(who)
    assert TREE.place(name).address == who
    assert DistinguishedName.parse(name).parent == TREE.base
    assert TREE.place(str(DistinguishedName.parse(name))).address == who


@given(ADDRESSES, ADDRESSES)
def test_each_address_has_a_name_and_an_identity_of_its_own(one: MailAddress, other: MailAddress) -> None:
    is_same = one == other
    assert (TREE.entry_name(one).lower() == TREE.entry_name(other).lower()) is is_same
    assert (uuid_of(one.key) == uuid_of(other.key)) is is_same


@given(st.text(alphabet=LETTERS + "cnou=chart,dc", max_size=40) | st.text(max_size=10))
def test_any_text_names_something_or_nothing_or_is_no_name(text: str) -> None:
    for name in (text, f"cn={text},{BASE}", f"mail={text},{BASE}"):
        try:
            place = TREE.place(name)
        except InvalidName:
            continue
        assert place.fixed is None or place.address is None
        if place.fixed is None and place.address is None:
            assert place.matched in ("", SUFFIX, BASE)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (f"cn=fax1,{BASE}", "fax1@office.lan"),
        (f"CN = Fax1 , OU=CHART,{SUFFIX.upper()}", "fax1@office.lan"),
        (f"2.5.4.3=fax1,{BASE}", "fax1@office.lan"),
        (f"cn=fax1@else.where,{BASE}", "fax1@else.where"),
        (f"mail=fax1@office.lan,{BASE}", "fax1@office.lan"),
        (f"mailLocalAddress=FAX1@office.lan,{BASE}", "fax1@office.lan"),
        (f"lanpostAddress=fax1@office.lan,{BASE}", "fax1@office.lan"),
        (f"lanpostKey=fax1@office.lan,{BASE}", None),
        (f"uid=fax1,{BASE}", None),
        (f"cn=fax1+mail=fax1@office.lan,{BASE}", None),
        (f"cn=fax1,cn=fax2,{BASE}", None),
        (f"cn=fax1,{SUFFIX}", None),
        (f"mail=no address,{BASE}", None),
    ],
)
def test_what_a_name_below_the_chart_names(name: str, key: str | None) -> None:
    found = TREE.place(name).address
    assert (found.key if found else None) == key


@pytest.mark.parametrize(
    ("domain", "suffix", "expected", "classes"),
    [
        ("office.lan", "", "dc=office,dc=lan", {"dcObject", "organization"}),
        ("lan", "", "dc=lan", {"dcObject", "organization"}),
        ("office.lan", "o=Office", "o=Office", {"organization"}),
        ("office.lan", "ou=Post, o=Office", "ou=Post,o=Office", {"organizationalUnit"}),
        ("office.lan", "c=AT", "c=AT", {"country"}),
        ("office.lan", "l=Wien,c=AT", "l=Wien,c=AT", {"organization"}),
        ("office.lan", r"o=Smith\, Sons", r"o=Smith\, Sons", {"organization"}),
    ],
)
def test_any_suffix_is_a_node_with_what_its_name_says(
    domain: str, suffix: str, expected: str, classes: set[str]
) -> None:
    tree = Tree(domain, suffix)
    assert tree.top.name == expected
    assert set(tree.top.values("objectClass")) == {name.encode() for name in classes | {"top"}}
    ((attribute, value),) = tree.suffix.rdn
    assert tree.top.values(attribute) == (str(value).encode(),)
    assert tree.root.values("namingContexts") == (expected.encode(),)
    who = MailAddress.parse("fax1", domain)
    assert tree.place(f"cn=fax1,ou=chart,{expected}").address == who
    assert DistinguishedName.parse(tree.entry_name(who)) == DistinguishedName.parse(
        f"cn=fax1,ou=chart,{suffix or expected}"
    )


@pytest.mark.parametrize("suffix", ["no name", "=x", "dc=a,,dc=b", "dc=#0401"])
def test_a_suffix_that_is_none_is_refused(suffix: str) -> None:
    with pytest.raises(InvalidName):
        Tree(DOMAIN, suffix)


def test_a_suffix_of_a_domain() -> None:
    assert suffix_of("a.b.lan") == "dc=a,dc=b,dc=lan"
    assert suffix_of("lan.") == "dc=lan"


NODES: list[Node] = [
    TREE.root,
    TREE.schema,
    TREE.top,
    TREE.chart,
    ChartNode(TREE, Entry(address("fax1")), NOW),
    ChartNode(TREE, Entry(address("fax1"), binding("fax1"), Details.of([("o", "Office")])), NOW),
    ChartNode(TREE, Entry(address("fäx1@else.where"), binding("fäx1@else.where", lasts=0)), NOW),
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name or "the root")
def test_each_node_keeps_to_the_schema(node: Node) -> None:
    assert attribute_type("objectClass") is not None
    for name in node.user_attributes():
        kind = attribute_type(name)
        assert kind is not None
        assert kind.name == name, "not its canonical name"
        assert not kind.operational
        assert not kind.single or len(node.values(name)) <= 1
    for name in node.operational_attributes():
        kind = attribute_type(name)
        assert kind is not None
        assert (kind.name, kind.operational) == (name, True)
        assert not kind.single or len(node.values(name)) <= 1
    assert all(class_name(value.decode()) for value in node.values("objectClass"))
    for attribute, value in name_parts(node)[:1]:
        kind = attribute_type(attribute)
        assert kind is not None
        assert value.encode() in node.values(kind.name), "what its name says"


def test_a_live_binding_is_told_and_an_expired_one_leads_nowhere() -> None:
    bound = Entry(address("fax1"), binding("fax1", "10.0.0.7:2525", lasts=100))
    live = ChartNode(TREE, bound, NOW + timedelta(seconds=40))
    assert b"ipHost" in live.values("objectClass")
    assert live.values("ipHostNumber") == (b"10.0.0.7",)
    assert live.values("mailHost") == (b"[10.0.0.7]",)
    assert live.values("lanpostNextHop") == (b"smtp:[10.0.0.7]:2525",)
    assert live.values("entryTtl") == (b"60",)
    assert live.values("lanpostExpiredEndpoint") == ()
    for later in (100, 1000):
        expired = ChartNode(TREE, bound, NOW + timedelta(seconds=later))
        assert not expired.is_live
        assert b"ipHost" not in expired.values("objectClass")
        assert [expired.values(name) for name in ("ipHostNumber", "mailHost", "lanpostNextHop")] == [()] * 3
        assert expired.values("lanpostExpiredEndpoint") == (b"10.0.0.7:2525",)
        assert expired.values("entryTtl") == (b"0",)


def test_what_is_bound_for_good_has_no_time_to_live() -> None:
    assert ChartNode(TREE, Entry(address("fax1"), binding("fax1", lasts=0)), NOW).values("entryTtl") == ()


def test_no_node_tells_a_secret() -> None:
    assert all(node.values("userPassword") == () for node in NODES)
