"""The PDF of a received fax, as poppler reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from tests.fax_receiving import mail_of, page_of, receiving, tiff_of

pytestmark = pytest.mark.peer


def poppler(program: str, *arguments: str | Path) -> str:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


async def test_poppler_finds_the_dots_that_were_sent_at_their_size(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        assert (await machine.take(mail_of(tiff_of(2))))[0] == 250
        folder, _ = machine.fax()
    listed = poppler("pdfimages", "-list", folder / "fax.pdf").splitlines()[2:]
    assert [line.split()[2:9] for line in listed] == [["image", "1728", "300", "gray", "1", "1", "ccitt"]] * 2
    assert [line.split()[12:14] for line in listed] == [["204", "196"]] * 2
    poppler("pdfimages", "-png", folder / "fax.pdf", tmp_path / "dots")
    for number in range(2):
        with Image.open(tmp_path / f"dots-00{number}.png") as dots:
            assert bytes(255 - octet for octet in dots.convert("1").tobytes()) == page_of(number).raster
