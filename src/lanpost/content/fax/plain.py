"""Pages of TIFFs that are no fax: what scanners and office machines write, made black and white."""

from __future__ import annotations

import io
import itertools
import struct

from PIL import Image

from lanpost.content.fax import tiff
from lanpost.content.fax.page import MAX_HEIGHT, MAX_WIDTH, FaxPage
from lanpost.content.fax.silence import silence_libtiff
from lanpost.content.fax.tiff import Directory, Value
from lanpost.errors import InvalidFax

silence_libtiff()

THRESHOLD = 128  # of 255: what is darker is black
COMPRESSIONS = {
    1: "none",
    5: "LZW",
    7: "JPEG",
    8: "deflate",
    32946: "deflate, by its old number",
    32773: "PackBits",
}
COLOR_MAP, JPEG_TABLES = 320, 347
_COPIED = {  # what an image's samples mean; nothing else of the file reaches the decoder
    tiff.IMAGE_WIDTH,
    tiff.IMAGE_LENGTH,
    tiff.BITS_PER_SAMPLE,
    tiff.COMPRESSION,
    tiff.PHOTOMETRIC,
    tiff.FILL_ORDER,
    tiff.SAMPLES_PER_PIXEL,
    tiff.ROWS_PER_STRIP,
    284,  # PlanarConfiguration
    317,  # Predictor
    COLOR_MAP,
    338,  # ExtraSamples
    339,  # SampleFormat
    JPEG_TABLES,
    529,  # YCbCrCoefficients
    530,  # YCbCrSubSampling
    531,  # YCbCrPositioning
    532,  # ReferenceBlackWhite
}
_UPRIGHT = {  # by Orientation (TIFF 6.0 §8)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TO_BLACK = [255] * THRESHOLD + [0] * (256 - THRESHOLD)  # black is 1, as in FaxPage
# What Pillow raises on octets that are no image: from its reader, its decoders, or the tags' shapes.
_PILLOWS_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError,
    ArithmeticError, struct.error, Image.DecompressionBombError,
)  # fmt: skip


def read_page(directory: Directory, width: int, height: int, dpi: tuple[int, int]) -> FaxPage:
    """The page with its own resolution; halved, or more, where it is wider than any fax. Raises InvalidFax."""
    compression = directory.integer(tiff.COMPRESSION, 1)
    if compression not in COMPRESSIONS:
        raise InvalidFax(f"a TIFF of compression {compression} is not read here; send profile S")
    depths = directory.integers(tiff.BITS_PER_SAMPLE) or (1,)
    if not set(depths) <= {1, 2, 4, 8} or len(depths) > 5 or directory.integer(tiff.SAMPLES_PER_PIXEL, 1) > 5:
        raise InvalidFax(
            f"a TIFF of {', '.join(map(str, depths[:5]))} bits a sample is not read here; send profile S"
        )
    try:
        with Image.open(io.BytesIO(_alone(directory)), formats=["TIFF"]) as image:
            if image.size != (width, height):
                raise InvalidFax("the TIFF contradicts itself about its width and height")
            dots, factor = _black_and_white(image)
    except _PILLOWS_ERRORS as error:
        if isinstance(error, InvalidFax):
            raise
        raise InvalidFax(
            f"the TIFF ({COMPRESSIONS[compression]}) cannot be decoded; perhaps it is damaged"
        ) from error
    if dots.height > MAX_HEIGHT:
        raise InvalidFax(f"a page of {width} x {height} dots is none of a fax")
    x_dpi, y_dpi = (round(each / factor) for each in dpi)
    raster = without_padding(dots.tobytes(), dots.width)
    page = FaxPage(dots.width, dots.height, x_dpi, y_dpi, raster)
    return upright(page, directory.integer(tiff.ORIENTATION, 1))


def without_padding(raster: bytes, width: int) -> bytes:
    """The same with white behind each row's last dot."""
    if not width % 8:
        return raster
    stride = (width + 7) // 8
    mask = 0xFF << (-width % 8) & 0xFF
    cleaned = bytearray(raster)
    cleaned[stride - 1 :: stride] = cleaned[stride - 1 :: stride].translate(
        bytes(octet & mask for octet in range(256))
    )
    return bytes(cleaned)


def upright(page: FaxPage, orientation: int) -> FaxPage:
    """The page as a reader holds it, by TIFF's Orientation; what is unknown counts as upright."""
    if orientation not in _UPRIGHT:
        return page
    dots = Image.frombytes("1", (page.width, page.height), page.raster).transpose(_UPRIGHT[orientation])
    x_dpi, y_dpi = (page.x_dpi, page.y_dpi) if orientation < 5 else (page.y_dpi, page.x_dpi)
    if dots.width > MAX_WIDTH:
        raise InvalidFax(f"a page of {dots.width} x {dots.height} dots is none of a fax")
    return FaxPage(dots.width, dots.height, x_dpi, y_dpi, without_padding(dots.tobytes(), dots.width))


def _alone(directory: Directory) -> bytes:
    """A file of this one page and of nothing that its decoder needs not."""
    values = {
        tag: Value(entry.type, entry.count, tiff.within(entry))
        for tag, entry in directory.entries.items()
        if tag in _COPIED
    }
    colours = directory.integers(COLOR_MAP)
    if colours and max(colours) < 256:  # a common fault: it should have 16 bits
        raw = struct.pack(f"{directory.order}{len(colours)}H", *(257 * each for each in colours))
        values[COLOR_MAP] = Value(tiff.SHORT, len(colours), raw)
    if tiff.TILE_OFFSETS in directory.entries:
        raise InvalidFax("a TIFF of tiles is not read here; send profile S")
    strips = list(tiff.strips(directory))
    sizes = [len(strip) for strip in strips]
    values[tiff.STRIP_BYTE_COUNTS] = tiff.longs(*sizes, order=directory.order)
    values[tiff.STRIP_OFFSETS] = tiff.longs(*sizes, order=directory.order)
    at = tiff.HEADER + len(tiff.write_directory(tiff.HEADER, values, 0, directory.order))
    places = itertools.accumulate(sizes[:-1], initial=at)
    values[tiff.STRIP_OFFSETS] = tiff.longs(*places, order=directory.order)
    head = tiff.write_directory(tiff.HEADER, values, 0, directory.order)
    return b"".join([tiff.write_header(directory.order), head, *strips])


def _black_and_white(image: Image.Image) -> tuple[Image.Image, int]:
    """The dots, black as 1, and by how much they are fewer than the image's, each way."""
    factor = max(-(-image.width // MAX_WIDTH), -(-image.height // MAX_HEIGHT))
    grey = image.convert("L")
    if "A" in image.getbands():  # what is transparent is paper
        paper = Image.new("L", image.size, 255)
        paper.paste(grey, mask=image.getchannel("A"))
        grey = paper
    if factor > 1:
        grey = grey.reduce(factor)
    return grey.point(_TO_BLACK, "1"), factor
