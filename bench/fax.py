"""Faxes: dots to MH and MMR bits and back, and whole files of profile S: `python -m bench fax`.

A page of text and a dithered photograph, A4 in fine resolution. Each figure comes from a process of its own with
one thread: pages for a second of its processor time, the best of some rounds; and by how much the process grew from
the third page to the last.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator

from PIL import Image, ImageDraw, ImageFont

from lanpost.content.fax.bits import Bits, Coding, decode, encode, encode_mh
from lanpost.content.fax.careful import Patience
from lanpost.content.fax.page import FINE, WIDTH, X_DPI, FaxPage
from lanpost.content.fax.profile_s import write_profile_s
from lanpost.content.fax.profile_s_faults import faults
from lanpost.content.fax.reading import read_pages

HEIGHT = 2292  # of A4 at 196 lines an inch
PAGES = 40
ROUNDS = 3
WORDS = "The quick brown fox jumps over the lazy dog, 0123456789 times a day, and is faxed to the 2nd floor. "


def text_page() -> FaxPage:
    """Sixty lines of eleven points."""
    image = Image.new("L", (WIDTH, HEIGHT), 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(30)
    for line in range(60):
        draw.text((120, 120 + 34 * line), (WORDS * 2)[line : line + 88], fill=0, font=font)
    return _page(image.point([255] * 160 + [0] * 96, "1"))


def photograph() -> FaxPage:
    """Shades over the whole page, dithered by Floyd and Steinberg: as dense as a page gets."""
    shades = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    clouds = Image.effect_noise((WIDTH // 64, HEIGHT // 64), 90).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    return _page(Image.blend(shades, clouds, 0.3).convert("1"))


def _page(image: Image.Image) -> FaxPage:
    return FaxPage(WIDTH, HEIGHT, X_DPI, FINE, image.tobytes())


KINDS: dict[str, Callable[[], FaxPage]] = {"text": text_page, "photograph": photograph}


def encoding(page: FaxPage, coding: Coding) -> Iterator[int]:
    """The octets of each page."""
    while True:
        yield len(encode(page, coding))


def encoding_ourselves(page: FaxPage, _: Coding) -> Iterator[int]:
    """MH as profile S has it."""
    while True:
        yield len(encode_mh(page))


def decoding(page: FaxPage, coding: Coding) -> Iterator[int]:
    """Each page proven whole, as a receiver reads it."""
    bits = Bits(encode(page, coding), coding, page.width, page.height)
    while True:
        yield len(decode(bits, Patience()).raster)


def carefully(page: FaxPage, coding: Coding) -> Iterator[int]:
    """The same where two lines are damaged, and the others are as no libtiff would write them (MMR: all of it)."""
    data = bytearray(encode(page, coding))
    data[len(data) // 2] ^= 0x18
    bits = Bits(bytes(data), coding, page.width, page.height)
    while True:
        yield decode(bits, Patience()).damaged


def writing(page: FaxPage, _: Coding) -> Iterator[int]:
    """A file of profile S, page by page."""
    for piece in write_profile_s((page for _ in range(1000)), 1000):
        yield len(piece)


def reading(page: FaxPage, _: Coding) -> Iterator[int]:
    """The pages of such a file."""
    data = b"".join(write_profile_s([page] * (PAGES + 3), PAGES + 3))
    while True:
        for each in read_pages(data):
            yield each.height


def validating(page: FaxPage, _: Coding) -> Iterator[int]:
    """A file of one page."""
    data = b"".join(write_profile_s([page], 1))
    while True:
        yield len(faults(data))


TASKS: list[tuple[str, Callable[[FaxPage, Coding], Iterator[int]], Coding]] = [
    ("encode MH", encoding_ourselves, Coding.MH),
    ("encode MH by libtiff", encoding, Coding.MH),
    ("encode MMR", encoding, Coding.MMR),
    ("decode MH", decoding, Coding.MH),
    ("decode MR", decoding, Coding.MR),
    ("decode MMR", decoding, Coding.MMR),
    ("decode MH, damaged", carefully, Coding.MH),
    ("decode MMR, damaged", carefully, Coding.MMR),
    ("write profile S", writing, Coding.MH),
    ("read profile S", reading, Coding.MH),
    ("faults of profile S", validating, Coding.MH),
]


def measure(task: int, kind: str) -> tuple[float, int]:
    """Pages a second, and KiB by which the process grew."""
    _, work, coding = TASKS[task]
    steps = work(KINDS[kind](), coding)
    for _ in range(3):
        next(steps)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = 0.0
    for _ in range(ROUNDS):
        count, begun = 0, time.process_time()
        while count < PAGES and time.process_time() - begun < 0.7:
            next(steps)
            count += 1
        best = max(best, count / (time.process_time() - begun))
    return best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def main() -> int:
    """Print the table; status 0."""
    pages = {kind: make() for kind, make in KINDS.items()}
    print(f"  A4, {WIDTH} x {HEIGHT} dots: {len(pages['text'].raster) // 1024} KiB of dots a page; MH: ", end="")
    print(", ".join(f"{kind} {len(encode(page, Coding.MH)) / 1024:.0f} KiB" for kind, page in pages.items()))
    print(f"\n  {'':22}" + "".join(f"{kind + ', pages/s':>22}{'grown, KiB':>12}" for kind in KINDS), flush=True)
    for number, (name, _, _) in enumerate(TASKS):
        cells = ""
        for kind in KINDS:
            with multiprocessing.get_context("spawn").Pool(1) as process:
                rate, grown = process.apply(measure, (number, kind))
            cells += f"{rate:22.1f}{grown:12d}"
        print(f"  {name:22}{cells}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
