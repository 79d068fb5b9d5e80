"""`python fuzz/fax_read.py [CORPUS] [libFuzzer's options]`: any octets to the reader of faxes and to the validator.

The invariant: octets are pages or refused with InvalidFax; a page that is written again is read as the same page;
the validator raises nothing. See fuzz/README.md.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

with atheris.instrument_imports(include=["lanpost.content.fax"]):
    from lanpost.content.fax import reading
    from lanpost.content.fax.careful import Patience
    from lanpost.content.fax.profile_s import write_profile_f, write_profile_s
    from lanpost.content.fax.profile_s_faults import faults
    from lanpost.errors import InvalidFax

from PIL import Image
from tests.fax_pages import written_page

from lanpost.content.fax.bits import Bits, Coding, decode, encode
from lanpost.content.fax.page import FaxPage

reading.MAX_DOTS = 2_000_000  # what is larger takes long, and is read no otherwise


def one_input(data: bytes) -> None:
    faults(data)
    try:
        pages = list(reading.read_pages(data))
    except InvalidFax:
        pages = []
    for page in pages[:2]:
        again(page, list(Coding)[len(data) % 4])
    if data:
        coding = list(Coding)[data[0] % 4]
        found = decode(Bits(data[1:], coding, 1728, 5, bool(data[0] & 4)), Patience())
        assert len(found.raster) == 5 * 216


def again(page: FaxPage, coding: Coding) -> None:
    bits = Bits(encode(page, coding), coding, page.width, page.height)
    found = decode(bits, Patience(0))
    assert (found.raster, found.damaged) == (page.raster, 0)


def seeds() -> list[bytes]:
    pages = [written_page(12, seed=1), written_page(8, seed=2)]
    files = [b"".join(write_profile_s(pages, 2)), b"".join(write_profile_f(pages, 2))]
    samples = (ROOT / "tests" / "samples" / "fax").glob("*/*.tif*")
    files += [file.read_bytes() for file in samples if file.stat().st_size < 8000]
    grey = Image.effect_noise((40, 20), 90)
    for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        written = io.BytesIO()
        grey.save(written, "TIFF", compression=compression)
        files.append(written.getvalue())
    for name in ("group3", "group4", "tiff_ccitt"):
        written = io.BytesIO()
        grey.convert("1").save(written, "TIFF", compression=name)
        files.append(written.getvalue())
    return files


def main() -> None:
    words = sys.argv
    if len(words) < 2 or words[1].startswith("-"):
        corpus = Path(tempfile.mkdtemp(prefix="lanpost-fuzz-"))
        for number, data in enumerate(seeds()):
            (corpus / f"seed-{number}").write_bytes(data)
        words = [words[0], str(corpus), *words[1:]]
    atheris.Setup(words, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
