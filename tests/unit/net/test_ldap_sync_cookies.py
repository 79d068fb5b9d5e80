"""What a cookie of our directory says: to us, and to OpenLDAP's consumer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from lanpost.net.ldap_sync_cookies import Cookies, Seen, seen_by

NOW = datetime(2026, 11, 27, 10, 19, 54, 501042, tzinfo=UTC)
HERE = "8223f34d27efb618"


def csns(cookie: bytes) -> list[bytes]:
    """As OpenLDAP reads them, who leaves aside what he does not know."""
    return re.findall(rb"csn=([^,;]+)", cookie)


def test_a_cookie_comes_back_as_it_was_given() -> None:
    cookie = Cookies(HERE, None, NOW).next(17)
    assert cookie == b"8223f34d27efb618:17,csn=20261127101954.501042Z#000000#000#000000"
    assert seen_by(cookie, HERE, NOW) == Seen(17, NOW)


@pytest.mark.parametrize(
    "cookie",
    [
        None,
        b"",
        b"8223f34d27efb618:17",  # of an earlier version
        b"rid=001,csn=20261127101954.501042Z#000000#000#000000",
        b"8223f34d27efb618:17,csn=20261327101954.501042Z#000000#000#000000",
        b"8223f34d27efb618:17,csn=20261127101954.501042Z#000000#001#000000",
        b"8223f34d27efb618:" + b"9" * 19 + b",csn=20261127101954.501042Z#000000#000#000000",
        b"1111111111111111:17,csn=20261127101954.501042Z#000000#000#000000",
        b"8223f34d27efb618:17,csn=20261127101954.501043Z#000000#000#000000",  # the clock was set back since
        b"\xff:1,csn=",
    ],
)
def test_what_is_not_of_this_chart_and_the_past_means_nothing(cookie: bytes | None) -> None:
    assert seen_by(cookie, HERE, NOW) is None


def test_csns_grow_with_every_cookie_however_the_clock_goes() -> None:
    cookies = Cookies(HERE, None, NOW)
    told = [cookies.next(1), cookies.next(2)]
    cookies.lapses = NOW + timedelta(seconds=1)
    told.append(cookies.next(2))
    cookies.lapses = NOW - timedelta(days=1)
    told.append(cookies.next(3))
    found = [csn for cookie in told for csn in csns(cookie)]
    assert len(found) == 4
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    "shown",
    [
        b"rid=001,csn=20291231235959.999999Z#000000#000#000000",
        b"rid=001,sid=002,csn=20200101000000.000000Z#000000#001#000000;20291231235959.999999Z#0000ff#002#000000",
        b"1111111111111111:17,csn=20291231235959.999999Z#000000#000#000000",
    ],
)
def test_csns_are_greater_than_those_that_the_consumer_shows(shown: bytes) -> None:
    (found,) = csns(Cookies(HERE, shown, NOW).next(1))
    assert found == b"20300101000000.000000Z#000000#000#000000"


@pytest.mark.parametrize(
    "shown",
    [
        b"rid=001,csn=99991231235959.999999Z#000000#000#000000",
        b"rid=001,csn=20261399999999.000000Z#000000#000#000000",
        b"rid=001,csn=2026",
    ],
)
def test_csns_that_are_none_count_for_nothing(shown: bytes) -> None:
    assert Cookies(HERE, shown, NOW).next(1) == Cookies(HERE, None, NOW).next(1)
