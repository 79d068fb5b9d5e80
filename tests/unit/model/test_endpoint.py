from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import InvalidEndpoint
from lanpost.model import endpoint
from lanpost.model.endpoint import Endpoint


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.7", "10.0.0.7:25"),
        ("10.0.0.7:2525", "10.0.0.7:2525"),
        ("2001:DB8:0::7", "[2001:db8::7]:25"),
        ("[2001:db8::7]:2525", "[2001:db8::7]:2525"),
        ("[fe80::7%eth0]:25", "[fe80::7%eth0]:25"),
        ("[fe80::7%eth0]", "[fe80::7%eth0]:25"),
        ("::ffff:10.0.0.7", "10.0.0.7:25"),
    ],
)
def test_an_endpoint_is_written_in_one_way(text: str, shown: str) -> None:
    assert str(Endpoint.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "mail.office.lan", "localhost:25", "10.0.0.7:", "10.0.0.7:0", "10.0.0.7:65536", "10.0.0.7:x", "10.0.0",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "[::]:25", "10.0.0.7%eth0", "[fe80::1%a b]:25", "[::1", "[::1]25",
     "10.0.0.7:25:25"],
)  # fmt: skip
def test_names_and_nonsense_are_refused(text: str) -> None:
    with pytest.raises(InvalidEndpoint):
        Endpoint.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_an_endpoint_or_refused(text: str) -> None:
    try:
        endpoint = Endpoint.parse(text)
    except InvalidEndpoint:
        return
    assert Endpoint.parse(str(endpoint)) == endpoint


@given(
    st.ip_addresses(v=4).map(str) | st.text("0123459.: \n", max_size=22),
    st.sampled_from(["", ":25", ":0", ":02", ":9999", ":65535", ":65536", ":٣", "\n"]),
    st.sampled_from([25, 0, 65536]),
)
def test_the_short_way_for_ipv4_leads_to_the_same(host: str, port: str, default_port: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "_UNICAST_IPV4", re.compile(r"(?!)"))
        expected = read(host + port, default_port)
    assert read(host + port, default_port) == expected


def read(text: str, default_port: int) -> Endpoint | None:
    try:
        return endpoint._parse.__wrapped__(text, default_port)
    except InvalidEndpoint:
        return None
