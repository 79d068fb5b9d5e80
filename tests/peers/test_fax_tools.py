"""Others' tools read our faxes dot for dot, and we theirs: libtiff's, poppler, ImageMagick, HylaFAX."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.fax_pages import photograph, written_page

from lanpost.content.fax.bits import encode_mh, encode_mmr
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.profile_s import write_profile_f, write_profile_s
from lanpost.content.fax.reading import Damage, read_pages

pytestmark = pytest.mark.peer

HYLAFAX = Path(__file__).parents[2] / ".make" / "hylafax" / "usr" / "lib" / "hylafax"
S_PAGES = [written_page(300, seed=1), photograph(200), written_page(500, seed=3, y_dpi=196)]
F_PAGES = [
    written_page(300, seed=1),
    written_page(200, seed=2, width=2432, y_dpi=391),
    written_page(200, seed=3, width=3072, x_dpi=300, y_dpi=300),
    written_page(200, seed=4, width=4864, x_dpi=400, y_dpi=400),
]
FILES = {"s": (S_PAGES, write_profile_s), "f": (F_PAGES, write_profile_f)}


def run(name: str, *words: str | Path, quiet: bool = True) -> bytes:
    """What it printed. It is to have no complaint."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: scripts/install-peers")
    done = subprocess.run([name, *map(str, words)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not (quiet and done.stderr), done.stderr.decode()
    return done.stdout


def hylafax(name: str, *words: str | Path) -> str:
    program = HYLAFAX / "bin" / name
    if not program.exists():
        pytest.skip("HylaFAX's tools are not there: scripts/install-peers")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(HYLAFAX)}
    return subprocess.run(
        [str(program), *map(str, words)], capture_output=True, timeout=60, check=True, env=environment
    ).stdout.decode()


@pytest.fixture(params=FILES)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[FaxPage]]:
    pages, write = FILES[request.param]
    file = tmp_path / f"{request.param}.tif"
    file.write_bytes(b"".join(write(pages, len(pages))))
    return file, pages


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A page of one resolution as profile S."""
    file = tmp_path / "plain.tif"
    file.write_bytes(b"".join(write_profile_s([S_PAGES[0]] * 2, 2)))
    return file


def dots(pbm: bytes) -> bytes:
    """Of a portable bitmap, whose rows are those of FaxPage.raster."""
    kind, _, rest = pbm.partition(b"\n")
    assert kind == b"P4"
    while rest.startswith(b"#"):
        rest = rest.partition(b"\n")[2]
    return rest.partition(b"\n")[2]


def read(file: Path) -> list[FaxPage]:
    damages: list[Damage] = []
    pages = list(read_pages(file.read_bytes(), damages.append))
    assert not damages
    return pages


def test_tiffinfo_finds_nothing_wrong(written: tuple[Path, list[FaxPage]]) -> None:
    file, pages = written
    told = run("tiffinfo", "-D", file).decode()  # -D decodes the pages, and warns on stderr
    for number, page in enumerate(pages):
        assert f"Image Width: {page.width} Image Length: {page.height}" in told
        assert f"Resolution: {page.x_dpi}, {page.y_dpi} pixels/inch" in told
        assert f"Page Number: {number}-{len(pages)}" in told
    assert told.count("FillOrder: lsb-to-msb") == len(pages)
    assert told.count("Subfile Type: multi-page document") == len(pages)


def test_imagemagick_sees_the_same_dots(written: tuple[Path, list[FaxPage]]) -> None:
    file, pages = written
    assert len(run("identify", file).splitlines()) == len(pages)
    for number, page in enumerate(pages):
        assert dots(run("convert", f"{file}[{number}]", "pbm:-")) == page.raster


def test_tiff2pdf_and_poppler_see_the_same_dots(written: tuple[Path, list[FaxPage]], tmp_path: Path) -> None:
    file, pages = written
    run("tiff2pdf", "-o", tmp_path / "fax.pdf", file)
    run("pdfimages", tmp_path / "fax.pdf", tmp_path / "image")
    images = sorted(tmp_path.glob("image-*.pbm"))
    assert [dots(image.read_bytes()) for image in images] == [page.raster for page in pages]
    run("pdftoppm", "-mono", "-r", "72", tmp_path / "fax.pdf", tmp_path / "page")
    shown = [dots(each.read_bytes()) for each in sorted(tmp_path.glob("page-*.pbm"))]
    assert len(shown) == len(pages)
    assert all(any(each) for each in shown)


def test_tiffcmp_finds_no_difference_to_a_copy_in_another_coding(
    written: tuple[Path, list[FaxPage]], tmp_path: Path
) -> None:
    file, _ = written
    for coding in ("none", "g3:1d", "g4", "lzw"):
        run("tiffcp", "-c", coding, file, tmp_path / "copy.tif")
        assert b"Scanline" not in run("tiffcmp", "-t", file, tmp_path / "copy.tif")  # it tells tags that differ too


def test_tiffcmp_finds_a_difference_of_one_dot(plain: Path, tmp_path: Path) -> None:
    page = S_PAGES[0]
    raster = bytearray(page.raster)
    raster[5000] ^= 1
    other = FaxPage(page.width, page.height, page.x_dpi, page.y_dpi, bytes(raster))
    (tmp_path / "other.tif").write_bytes(b"".join(write_profile_s([other] * 2, 2)))
    done = subprocess.run(["tiffcmp", "-t", plain, tmp_path / "other.tif"], capture_output=True, check=False)
    assert (done.returncode, b"Scanline 23" in done.stdout) == (1, True), done


@pytest.mark.parametrize(
    "coding", ["g3:1d", "g3:2d", "g3:1d:fill", "g3:2d:fill", "g4", "none", "packbits", "lzw", "zip"]
)
@pytest.mark.parametrize("layout", ["-f lsb2msb", "-f msb2lsb", "-B", "-r 64 -f lsb2msb", "-L -r 100"])
def test_what_tiffcp_writes_is_read(plain: Path, tmp_path: Path, coding: str, layout: str) -> None:
    run("tiffcp", *layout.split(), "-c", coding, plain, tmp_path / "copy.tif")
    assert read(tmp_path / "copy.tif") == [S_PAGES[0]] * 2


@pytest.mark.parametrize("coding", ["-1", "-4"])
@pytest.mark.parametrize("output", ["-7 -5 -p", "-7 -5 -a", "-7 -6 -p", "-7 -6 -a", "-8"])
def test_fax2tiff_takes_our_bits_and_we_take_its_files(tmp_path: Path, coding: str, output: str) -> None:
    page = S_PAGES[0]
    (tmp_path / "bits").write_bytes(encode_mh(page) if coding == "-1" else encode_mmr(page))
    words = (coding, "-P", "-L", "-X", "1728", "-R", "98", *output.split())
    run("fax2tiff", *words, "-o", tmp_path / "fax.tif", tmp_path / "bits", quiet=False)
    (found,) = read(tmp_path / "fax.tif")
    assert found.raster[: len(page.raster)] == page.raster


@pytest.mark.parametrize("compression", ["Fax", "Group4", "LZW", "Zip", "RLE", "None"])
@pytest.mark.parametrize("endian", ["LSB", "MSB"])
def test_what_imagemagick_writes_is_read(plain: Path, tmp_path: Path, compression: str, endian: str) -> None:
    copy = tmp_path / "copy.tif"
    run("convert", plain, "-endian", endian, "-compress", compression, copy)
    assert read(copy) == [S_PAGES[0]] * 2


@pytest.mark.parametrize("compression", ["JPEG", "LZW"])
def test_grey_and_colour_of_imagemagick_is_read(plain: Path, tmp_path: Path, compression: str) -> None:
    for kind in ("TrueColor", "Grayscale"):
        run("convert", f"{plain}[0]", "-type", kind, "-depth", "8", "-compress", compression, tmp_path / "copy.tif")
        (found,) = read(tmp_path / "copy.tif")
        wrong = sum((one ^ other).bit_count() for one, other in zip(found.raster, S_PAGES[0].raster, strict=True))
        assert wrong < (1 if compression == "LZW" else 0.01 * 8 * len(found.raster))


@pytest.mark.parametrize("device", ["tiffg3", "tiffg32d", "tiffg4", "tiffcrle", "tifflzw", "tiffpack", "tiffgray"])
def test_what_ghostscript_writes_is_read(plain: Path, tmp_path: Path, device: str) -> None:
    run("tiff2pdf", "-o", tmp_path / "fax.pdf", plain)
    pages = {}
    for name in ("tiffg4", device):
        out = tmp_path / f"{name}.tif"
        run(
            "gs",
            "-q",
            "-dSAFER",
            "-dBATCH",
            "-dNOPAUSE",
            f"-sDEVICE={name}",
            "-r204x98",
            f"-sOutputFile={out}",
            tmp_path / "fax.pdf",
        )
        pages[name] = read(out)
    assert [(page.width, page.x_dpi, page.y_dpi) for page in pages[device]] == [(1728, 204, 98)] * 2
    wrong = sum(
        (one ^ other).bit_count()
        for one, other in zip(pages[device][0].raster, pages["tiffg4"][0].raster, strict=True)
    )
    assert wrong < 0.01 * 8 * len(pages[device][0].raster)


def test_hylafax_would_send_our_profile_s_as_it_is(plain: Path) -> None:
    assert hylafax("tiffcheck", "-1", plain).splitlines()[0] == "OK"
    told = hylafax("faxinfo", plain)
    assert "Pages: 2" in told
    assert "DataFormat: 1-D MH" in told


def test_hylafax_takes_our_mmr(tmp_path: Path) -> None:
    file = tmp_path / "f.tif"
    file.write_bytes(b"".join(write_profile_f([S_PAGES[0]], 1)))
    assert hylafax("tiffcheck", "-3", file).splitlines()[0] == "OK"
    assert "DataFormat: 2-D MMR" in hylafax("faxinfo", file)
