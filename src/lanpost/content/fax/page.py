"""A page of a fax: black and white, with the resolution it was scanned at (RFC 3949)."""

from __future__ import annotations

from dataclasses import dataclass

from lanpost.errors import InvalidFax

# Profile S (RFC 3949 §3): 1728 dots across a page of A4 or Letter, and two resolutions down the page.
WIDTH = 1728
X_DPI = 204
STANDARD, FINE = 98, 196  # dots an inch, down the page
SUPERFINE = 391  # of profile F alone (RFC 3949 §4.4.1)
MAX_WIDTH = 4864  # A3 at 400 dots an inch (RFC 3949 §4.4.1)
MAX_HEIGHT = 20_000  # rows; a page of two metres


@dataclass(frozen=True, slots=True)
class FaxPage:
    """One page. `raster` holds its rows from the top, each padded to whole octets, leftmost dot first; 1 is black.

    Raises InvalidFax where the measures contradict each other.
    """

    width: int  # dots
    height: int  # rows
    x_dpi: int
    y_dpi: int
    raster: bytes

    def __post_init__(self) -> None:
        if not (1 <= self.width <= MAX_WIDTH and 1 <= self.height <= MAX_HEIGHT):
            raise InvalidFax(f"a page of {self.width} x {self.height} dots is none of a fax")
        if len(self.raster) != self.stride * self.height:
            raise InvalidFax("the raster does not hold the page's rows")

    @property
    def stride(self) -> int:
        """Octets of a row."""
        return (self.width + 7) // 8
