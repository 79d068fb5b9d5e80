"""PDF to a file of profile S, from end to end, beside Ghostscript's tiffg3 in the same run.

Each figure comes from a process of its own, its start included: pages for a second of its processor time, and for
a second by the clock (ours draws a page while it codes the last one, on two processors), the best of three rounds
in turn; and its greatest size (RSS) with few pages and with a hundred, which shows what a page more costs.
Ghostscript's file is not of profile S (fill order, page numbers), and it draws photographs by its own halftone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pikepdf
from PIL import Image

FEW, MANY = 10, 100
ROUNDS = 3
Maker = Callable[[Path, Path, int], list[str]]
WORDS = "The quick brown fox jumps over the lazy dog, 0123456789 times a day, and is faxed to the 2nd floor."
OURS = """
import sys
from pathlib import Path
from lanpost.content.fax.document import open_document
from lanpost.content.fax.profile_s import write_profile_s
document = open_document(Path(sys.argv[1]), fine=sys.argv[3] == "196")
with open(sys.argv[2], "wb") as file:
    for piece in write_profile_s(document.pages(), document.count):
        file.write(piece)
"""


# A process counts its parent's size, from before it was itself, as its own: so its parent is a small one.
LAUNCHER = """
import os, subprocess, sys, time
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(used.ru_utime + used.ru_stime, time.perf_counter() - begun, used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Used(NamedTuple):
    """Seconds of processor time, seconds by the clock, and the greatest size in MiB."""

    processor: float
    clock: float
    size: float


def pdf(file: Path, kind: str, pages: int) -> None:
    """A4: sixty lines of text, or a photograph over half the page with ten lines."""
    document = pikepdf.new()
    font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
    resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    lines = 60
    picture = b""
    if kind == "photograph":
        shades = Image.linear_gradient("L").resize((1500, 1200))
        clouds = Image.effect_noise((24, 19), 90).resize((1500, 1200), Image.Resampling.BICUBIC)
        stream = pikepdf.Stream(document, Image.blend(shades, clouds, 0.3).tobytes())
        stream.Type, stream.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
        stream.ColorSpace, stream.BitsPerComponent = pikepdf.Name.DeviceGray, 8
        stream.Width, stream.Height = 1500, 1200
        resources.XObject = pikepdf.Dictionary(Im=document.make_indirect(stream))
        lines, picture = 10, b"q 480 0 0 384 57 150 cm /Im Do Q "
    for page in range(pages):
        text = b" T* ".join(b"(%d.%d %s) Tj" % (page, line, WORDS.encode()) for line in range(lines))
        made = document.add_blank_page(page_size=(595.276, 841.89))
        made.Resources = resources
        made.Contents = document.make_stream(picture + b"BT /F1 10 Tf 12.5 TL 57 790 Td " + text + b" ET")
    document.save(file)


def lanpost(source: Path, target: Path, y_dpi: int) -> list[str]:
    return [sys.executable, "-c", OURS, str(source), str(target), str(y_dpi)]


def ghostscript(source: Path, target: Path, y_dpi: int) -> list[str]:
    options = ["-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=tiffg3", "-dMaxStripSize=0", f"-r204x{y_dpi}"]
    return ["gs", *options, "-g1728x" + {98: "1146", 196: "2292"}[y_dpi], f"-sOutputFile={target}", str(source)]


def run(command: Sequence[str]) -> Used:
    """Of one process."""
    # An installed program has its bytecode.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    launched = [sys.executable, "-c", LAUNCHER, *command]
    done = subprocess.run(launched, stdout=subprocess.PIPE, check=True, env=environment)
    processor, clock, size = map(float, done.stdout.split())
    return Used(processor, clock, size / 1024)


def compare(folder: Path, label: str, y_dpi: int, makers: Mapping[str, Maker]) -> None:
    """A line for each program."""
    used: dict[str, list[Used]] = {program: [] for program in makers}
    for _ in range(ROUNDS):
        for program, command in makers.items():
            used[program].append(run(command(folder / "many.pdf", folder / f"{program}.tif", y_dpi)))
    for program, command in makers.items():
        small = run(command(folder / "few.pdf", folder / "few.tif", y_dpi))
        processor = MANY / min(each.processor for each in used[program])
        clock = MANY / min(each.clock for each in used[program])
        large = max(each.size for each in used[program])
        octets = (folder / f"{program}.tif").stat().st_size / 1024 / MANY
        figures = f"{processor:12.1f}{clock:12.1f}{small.size:10.0f}{large:10.0f}{octets:8.0f}"
        print(f"  {f'{program}, {label}':28}{figures}", flush=True)


def main() -> int:
    """Print the table; status 0."""
    makers = {"lanpost": lanpost, "Ghostscript": ghostscript}
    if shutil.which("gs") is None:
        del makers["Ghostscript"]
        print("  Ghostscript is left out: scripts/install-peers", flush=True)
    print(f"  {'':28}{'pages a second of':^24}{'MiB with':^20}{'KiB a':>8}")
    columns = ("processor", "clock", f"{FEW} p.", f"{MANY} p.")
    print(f"  {'PDF to TIFF, A4':28}" + "{:>12}{:>12}{:>10}{:>10}".format(*columns) + f"{'page':>8}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lanpost-bench-") as name:
        folder = Path(name)
        for kind in ("text", "photograph"):
            pdf(folder / "few.pdf", kind, FEW)
            pdf(folder / "many.pdf", kind, MANY)
            for y_dpi in (98, 196):
                compare(folder, f"{kind}, {y_dpi}", y_dpi, makers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
