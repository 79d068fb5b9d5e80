"""Greys to black and white: a threshold for letters and lines, ordered dithering where a photograph is.

A band of the page at a time, so that all of it stays in the processor's cache.
"""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageFilter

from lanpost.content.fax.arrays import NDArray, Octets, np

THRESHOLD = 160  # of 255: below it is ink; thin grey strokes of anti-aliased letters stay
MIDDLE = (16, 244)  # between these a grey is a tone, not ink nor paper
BLOCK = 16  # dots a side; a photograph is looked for block by block
TONED = 170  # of 255: a block with a greater share of tones is one of a photograph; the smallest print has 164
MIN_BLOCKS = 6  # fewer together are a grey letter or a line
BAND = 8 * BLOCK  # rows

Truths = NDArray[np.bool_]


def black_and_white(greys: Octets) -> Octets:
    """Rows of packed dots, 1 is black; of rows of greys, whose number is a multiple of BLOCK."""
    height, width = greys.shape
    page: Octets = np.empty((height, width // 8), np.uint8)
    tones: list[NDArray[np.uint16]] = []
    for top in range(0, height, BAND):
        band = greys[top : top + BAND]
        page[top : top + BAND] = np.packbits(band < THRESHOLD, axis=1)
        tones.append(_tones(band))
    blocks = _photographs(np.concatenate(tones), height)
    if blocks is not None:
        down, across = blocks.nonzero()
        rows = slice(BLOCK * down.min(), BLOCK * (down.max() + 1))
        octets = slice(BLOCK // 8 * across.min(), BLOCK // 8 * (across.max() + 1))
        mask = blocks.repeat(BLOCK, 0)[:height].repeat(BLOCK // 8, 1)[rows, octets]
        page[rows, octets][mask] = dithered(greys[rows, 8 * octets.start : 8 * octets.stop])[mask]
    return page


def dithered(greys: Octets) -> Octets:
    """Each grey as that share of white dots, by a matrix of 8 x 8 (Bayer); packed as above."""
    page: Octets = np.empty((greys.shape[0], greys.shape[1] // 8), np.uint8)
    for row, limits in enumerate(_limits(greys.shape[1])):
        page[row::8] = np.packbits(greys[row::8] <= limits, axis=1)
    return page


def _tones(greys: Octets) -> NDArray[np.uint16]:
    """How many dots of each block are tones."""
    tones = greys - np.uint8(MIDDLE[0]) <= MIDDLE[1] - MIDDLE[0]  # what is darker wraps around
    eights = tones.view(np.uint64)  # the rows of a block are added up eight dots at a time, 16 at most in an octet
    columns = np.add.reduceat(eights, np.arange(0, len(eights), BLOCK), axis=0).view(np.uint8)
    blocks: NDArray[np.uint16] = columns.reshape(len(columns), -1, BLOCK).sum(axis=2, dtype=np.uint16)
    return blocks


def _photographs(tones: NDArray[np.uint16], height: int) -> Truths | None:
    """Which blocks are a photograph's; None: there is none."""
    dots = np.full((len(tones), 1), BLOCK * BLOCK)
    dots[-1] = ((height - 1) % BLOCK + 1) * BLOCK
    toned = (tones * 255 + dots // 2) // dots >= TONED
    if np.count_nonzero(toned) < MIN_BLOCKS:
        return None
    # Blocks that stand alone are dropped; then gaps, the bright and dark places of a photograph, are closed.
    image = Image.fromarray(toned.view(np.uint8)).filter(ImageFilter.MedianFilter(3))
    closed = image.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(3))
    return np.asarray(closed).view(np.bool_) if image.getbbox() else None


@cache
def _bayer(order: int) -> list[list[int]]:
    if order == 0:
        return [[0]]
    small = _bayer(order - 1)
    top = [[4 * value for value in row] + [4 * value + 2 for value in row] for row in small]
    return top + [[4 * value + 3 for value in row] + [4 * value + 1 for value in row] for row in small]


@cache
def _limits(width: int) -> Octets:
    """Of each of 8 rows, up to which grey a dot is black: 253, 249, ... 1, so white and black stay."""
    return np.tile(253 - 4 * np.array(_bayer(3)), (1, width // 8)).astype(np.uint8)
