"""Greys to black and white: a threshold for letters and lines, ordered dithering where a photograph is.

A band of the page at a time, so that all of it stays in the processor's cache.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from lanpost.content.fax.arrays import NDArray, Octets, np

THRESHOLD = 160  # of 255: below it is ink; thin grey strokes of anti-aliased letters stay
MIDDLE = (16, 244)  # between these a grey is a tone, not ink nor paper
BLOCK = 16  # dots a side; a photograph is looked for block by block
TONED = 170  # of 255: a block with a greater share of tones is one of a photograph; the smallest print has 164
MIN_BLOCKS = 6  # fewer together are a grey letter or a line
BAND = 8 * BLOCK  # rows

AnyBlock = TypeVar("AnyBlock", np.bool_, np.uint8)
Truths = NDArray[np.bool_]
Numbers = NDArray[np.uint64]


def black_and_white(greys: bytes | memoryview, width: int) -> bytes:
    """Rows of packed dots, 1 is black; of rows of `width` greys, a multiple of BLOCK."""
    return _black_and_white(np.frombuffer(greys, np.uint8).reshape(-1, width)).tobytes()


def _black_and_white(greys: Octets) -> Octets:
    height, width = greys.shape
    page: Octets = np.empty((height, width // 8), np.uint8)
    tones: list[Numbers] = []
    truths, above = np.zeros((BAND, width), np.bool_), np.empty((BAND, width), np.uint8)
    for top in range(0, height, BAND):
        band = greys[top : top + BAND]
        rows = len(band)
        np.less(band, THRESHOLD, out=truths[:rows])
        page[top : top + BAND] = np.packbits(truths[:rows], axis=1)
        np.subtract(band, np.uint8(MIDDLE[0]), out=above[:rows])  # what is darker than that wraps around
        np.less_equal(above[:rows], MIDDLE[1] - MIDDLE[0], out=truths[:rows])
        truths[rows:] = False
        tones.append(_in_blocks(truths))
    blocks = _photographs(np.concatenate(tones)[: -(-height // BLOCK)], height)
    if blocks is not None:
        down, across = (slice(places.min(), places.max() + 1) for places in blocks.nonzero())
        part = page[BLOCK * down.start : BLOCK * down.stop, BLOCK // 8 * across.start : BLOCK // 8 * across.stop]
        tinted = greys[BLOCK * down.start : BLOCK * down.stop, BLOCK * across.start : BLOCK * across.stop]
        mask = blocks[down, across].repeat(BLOCK, 0)[: len(part)].repeat(BLOCK // 8, 1)
        np.copyto(part, dithered(tinted), where=mask)
    return page


def dithered(greys: Octets) -> Octets:
    """Each grey as that share of white dots, by a matrix of 8 x 8 (Bayer); packed as above."""
    page: Octets = np.empty((greys.shape[0], greys.shape[1] // 8), np.uint8)
    for row, limits in enumerate(_limits(greys.shape[1])):
        page[row::8] = np.packbits(greys[row::8] <= limits, axis=1)
    return page


def _in_blocks(truths: Truths) -> Numbers:
    """How many are true in each block: eight dots, then sixteen, are added up at once, as parts of one number."""
    rows, width = truths.shape
    eights = truths.view(np.uint64).reshape(rows // BLOCK, BLOCK, width // 8).sum(axis=1)  # 16 in an octet, at most
    sixteens = eights[:, 0::2] + eights[:, 1::2]
    pairs = (sixteens & 0x00FF00FF00FF00FF) + (sixteens >> 8 & 0x00FF00FF00FF00FF)
    counts: Numbers = pairs * 0x0001000100010001 >> 48
    return counts


def _photographs(tones: Numbers, height: int) -> Truths | None:
    """Which blocks are a photograph's; None: there is none."""
    dots = np.full((len(tones), 1), BLOCK * BLOCK, np.uint64)
    dots[-1] = ((height - 1) % BLOCK + 1) * BLOCK
    toned = tones * 255 + dots // 2 >= TONED * dots
    if np.count_nonzero(toned) < MIN_BLOCKS:
        return None
    # Blocks that stand alone are dropped; then gaps, the bright and dark places of a photograph, are closed.
    kept: Truths = np.add.reduce(_near(toned.view(np.uint8), 1)) >= 5
    closed = np.logical_and.reduce(_near(np.logical_or.reduce(_near(kept, 2)), 1))
    return closed if closed.any() else None


def _near(blocks: NDArray[AnyBlock], reach: int) -> list[NDArray[AnyBlock]]:
    """All that are so near each block; beyond the page's edge is what is at the edge."""
    wide = np.pad(blocks, reach, "edge")
    steps = range(2 * reach + 1)
    return [wide[down : down + len(blocks), right : right + blocks.shape[1]] for down in steps for right in steps]


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
