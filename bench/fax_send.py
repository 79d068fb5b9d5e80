"""PDF to a file of profile S, from end to end, beside Ghostscript's tiffg3 in the same run.

Each figure comes from a process of its own: pages for a second of its processor time, the better of two rounds, and
its greatest size (RSS) with few pages and with a hundred, which shows what a page more costs. Ghostscript's file is
not of profile S (fill order, page numbers), and it draws photographs by its own halftone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pikepdf
from PIL import Image

FEW, MANY = 10, 100
ROUNDS = 2
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


def run(command: Sequence[str]) -> tuple[float, int]:
    """Seconds of processor time and the greatest size in KiB of one process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime, used.ru_maxrss


def main() -> int:
    """Print the table; status 0."""
    makers = {"lanpost": lanpost, "Ghostscript": ghostscript}
    if shutil.which("gs") is None:
        del makers["Ghostscript"]
        print("  Ghostscript is left out: scripts/install-peers", flush=True)
    print(f"  {'PDF to TIFF, A4':28}{'pages/s':>10}{f'MiB, {FEW} p.':>14}{f'MiB, {MANY} p.':>14}{'KiB/page':>10}")
    with tempfile.TemporaryDirectory(prefix="lanpost-bench-") as name:
        folder = Path(name)
        for kind in ("text", "photograph"):
            pdf(folder / "few.pdf", kind, FEW)
            pdf(folder / "many.pdf", kind, MANY)
            for y_dpi in (98, 196):
                for program, command in makers.items():
                    target = folder / "fax.tif"
                    _, small = run(command(folder / "few.pdf", target, y_dpi))
                    rounds = [run(command(folder / "many.pdf", target, y_dpi)) for _ in range(ROUNDS)]
                    rate = MANY / min(seconds for seconds, _ in rounds)
                    large = max(size for _, size in rounds)
                    label = f"{program}, {kind}, {y_dpi}"
                    octets = target.stat().st_size / 1024 / MANY
                    print(
                        f"  {label:28}{rate:10.1f}{small / 1024:14.0f}{large / 1024:14.0f}{octets:10.0f}",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
