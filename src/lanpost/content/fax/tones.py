"""Greys to black and white: a threshold for letters and lines, ordered dithering where a photograph is.

All by Pillow's own operations, a page at a time: a page without a photograph costs two passes over its dots.
"""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageChops, ImageFilter

THRESHOLD = 160  # of 255: below it is ink; thin grey strokes of anti-aliased letters stay
MIDDLE = (16, 244)  # between these a grey is a tone, not ink nor paper
BLOCK = 16  # dots a side; a photograph is looked for block by block
TONED = 170  # of 255: a block with a greater share of tones is one of a photograph; the smallest print has 164
MIN_BLOCKS = 6  # fewer together are a grey letter or a line

_MIDDLE = [255 if MIDDLE[0] <= grey <= MIDDLE[1] else 0 for grey in range(256)]
_INK = [0 if grey < THRESHOLD else 255 for grey in range(256)]
_ANY = [0] + [255] * 255


def black_and_white(image: Image.Image) -> Image.Image:
    """Mode "1" of mode "L"."""
    page = image.point(_INK, "1")
    region = _photographs(image)
    box = region.getbbox() if region else None
    if region and box:
        whole = (
            box[0] * BLOCK,
            box[1] * BLOCK,
            min(box[2] * BLOCK, image.width),
            min(box[3] * BLOCK, image.height),
        )
        mask = region.crop(box).resize(
            ((box[2] - box[0]) * BLOCK, (box[3] - box[1]) * BLOCK), Image.Resampling.NEAREST
        )
        size = (whole[2] - whole[0], whole[3] - whole[1])
        page.paste(dithered(image.crop(whole)), whole[:2], mask.crop((0, 0, *size)).point(_ANY, "1"))
    return page


def dithered(image: Image.Image) -> Image.Image:
    """Mode "1": each grey as that share of white dots, by a matrix of 8 x 8 (Bayer)."""
    return ImageChops.add(image, _matrix(image.size), 1, -255).point(_ANY, "1")


def _photographs(image: Image.Image) -> Image.Image | None:
    """One dot for each block, white where a photograph is; None: there is none."""
    tones = image.point(_MIDDLE).reduce(BLOCK)
    blocks = tones.point([0 if share < TONED else 255 for share in range(256)])
    if blocks.histogram()[255] < MIN_BLOCKS:
        return None
    # Blocks that stand alone are dropped; then gaps, the bright and dark places of a photograph, are closed.
    alone = blocks.filter(ImageFilter.MedianFilter(3))
    return alone.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(3)) if alone.getbbox() else None


@cache
def _bayer(order: int) -> list[list[int]]:
    if order == 0:
        return [[0]]
    small = _bayer(order - 1)
    top = [[4 * value for value in row] + [4 * value + 2 for value in row] for row in small]
    return top + [[4 * value + 3 for value in row] + [4 * value + 1 for value in row] for row in small]


_tiles: dict[tuple[int, int], Image.Image] = {}


def _matrix(size: tuple[int, int]) -> Image.Image:
    """The matrix, tiled at least so large, cut to size. The largest seen so far is kept."""
    kept = _tiles.get((0, 0))
    if kept is None or kept.width < size[0] or kept.height < size[1]:
        wide = max(size[0], kept.width if kept else 0) + 7 & ~7
        high = max(size[1], kept.height if kept else 0) + 7 & ~7
        # 2, 6, ... 254: white stays white, black black.
        rows = [bytes(4 * value + 2 for value in row) * (wide // 8) for row in _bayer(3)]
        kept = _tiles[0, 0] = Image.frombytes("L", (wide, high), b"".join(rows) * (high // 8))
    return kept.crop((0, 0, *size))
