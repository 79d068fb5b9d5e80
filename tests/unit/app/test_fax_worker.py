"""What a fax's own process tells of the mail's header section."""

from __future__ import annotations

import pytest

from lanpost.app.fax_worker import told_headers


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"Subject: plain", "plain"),
        (b"SUBJECT: folded\r\n\tonce", "folded once"),
        (b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?Q?_=E4?=", "Grüße ä"),
        ("Subject: Grüße".encode(), "Grüße"),
        ("Subject: Grü".encode("latin-1"), "Gr\ufffd"),
        (b"Subject: =?no-such?Q?x?=", "=?no-such?Q?x?="),
        (b"Subject: " + b"x" * 5000, "x" * 2000),
    ],
)
def test_the_subject_is_told_as_people_read_it(raw: bytes, told: str) -> None:
    assert told_headers(raw + b"\r\nX-Other: y\r\n\r\nSubject: of the body\r\n") == [("subject", told)]
