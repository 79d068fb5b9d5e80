"""Which attributes a search is answered with: those that were asked for, each once, as RFC 4511 §4.5.1.8 has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.directory_running import DOMAIN, NOW, address, binding

from lanpost.content.directory_schema import ATTRIBUTE_TYPES, attribute_type
from lanpost.model.binding import Entry
from lanpost.model.details import Details
from lanpost.service.directory_selection import (
    MAX_REMEMBERED_NAME,
    MAX_REMEMBERED_NAMES,
    is_ordinary,
    selection_of,
)
from lanpost.service.directory_tree import ChartNode, Node, Tree
from lanpost.wire.ldap_encode import encode_attribute

TREE = Tree(DOMAIN)
DETAILS = Details.of([("o", "Office"), ("description", "a"), ("description", "b")])
BOUND = ChartNode(TREE, Entry(address("fax1"), binding("fax1"), DETAILS), NOW)
NODES: list[Node] = [BOUND, ChartNode(TREE, Entry(address("fax2")), NOW), TREE.root, TREE.top, TREE.schema]

WORDS = st.sampled_from([each.name for each in ATTRIBUTE_TYPES]) | st.sampled_from(
    ["*", "+", "1.1", "", "unheardof", "cn;lang-en", "CN", "commonName", "2.5.4.3", "fax", "x" * 200]
)


@given(
    st.lists(WORDS, max_size=6).map(tuple) | st.lists(WORDS, min_size=41, max_size=45).map(tuple),
    st.sampled_from(NODES),
)
def test_every_attribute_asked_for_that_it_has_and_no_other_each_once(asked: tuple[str, ...], node: Node) -> None:
    told = dict(selection_of(asked).attributes(node))
    expected = set()
    for kind in ATTRIBUTE_TYPES:
        by_name = any(attribute_type(each) is kind for each in asked)
        by_sort = ("+" in asked) if kind.operational else ("*" in asked or not asked)
        if (by_name or by_sort) and node.values(kind.name):
            expected.add(kind.name)
    assert set(told) == expected
    assert all(tuple(node.values(name)) == values for name, values in told.items())


@given(st.lists(WORDS, max_size=6).map(tuple), st.sampled_from(NODES), st.booleans())
def test_the_octets_are_those_of_the_attributes(asked: tuple[str, ...], node: Node, types_only: bool) -> None:
    chosen = selection_of(asked)
    expected = [encode_attribute(name, () if types_only else values) for name, values in chosen.attributes(node)]
    assert chosen.octets(node, types_only=types_only) == b"".join(expected)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [((), False), (("*",), False), (("cn",), False), (("+",), True), (("cn", "ENTRYTTL"), True)],
)
def test_what_differs_each_second_is_not_kept(asked: tuple[str, ...], expected: bool) -> None:
    assert selection_of(asked).tells_time is expected


def test_long_lists_are_not_remembered() -> None:
    assert is_ordinary(("cn",) * MAX_REMEMBERED_NAMES)
    assert not is_ordinary(("cn",) * (MAX_REMEMBERED_NAMES + 1))
    assert is_ordinary(("x" * MAX_REMEMBERED_NAME,))
    assert not is_ordinary(("x" * (MAX_REMEMBERED_NAME + 1),))
