"""The typefaces of pages that we draw ourselves: the machine's own, and Pillow's where it has none.

A character is drawn with the first face that has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
# Fixed widths first; the others are for what it lacks. Files of these names, in any folder below FOLDERS.
FILES = (
    "DejaVuSansMono.ttf",
    "LiberationMono-Regular.ttf",
    "NotoSansMono-Regular.ttf",
    "FreeMono.ttf",
    "NotoSansMonoCJK-Regular.ttc",
    "NotoSansCJK-Regular.ttc",
    "unifont.otf",
    "DejaVuSans.ttf",
)
ABSENT = "\U0010fffe"  # no typeface has a picture of it but the one for what it lacks

Face = ImageFont.FreeTypeFont


@cache
def _files() -> tuple[Path, ...]:
    found = {file.name: file for folder in FOLDERS for file in sorted(Path(folder).rglob("*.[to]t[fc]"))}
    return tuple(found[name] for name in FILES if name in found)


class Typeface:
    """Faces of one size, in dots an em."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._choice: dict[str, int] = {}

    @cached_property
    def faces(self) -> Sequence[Face]:
        """The best first."""
        faces = [ImageFont.truetype(str(file), self.size) for file in _files()]
        built_in = ImageFont.load_default(self.size)
        return [*faces, *([built_in] if isinstance(built_in, Face) else [])]

    @cached_property
    def column(self) -> float:
        """Dots from one character to the next."""
        return self.faces[0].getlength("0")

    @cached_property
    def _absent(self) -> Sequence[bytes]:
        return [bytes(face.getmask(ABSENT)) for face in self.faces]

    def _face(self, char: str) -> int:
        """The first face that has a character; a space or mark goes with any."""
        if char.isascii():
            return 0
        if char not in self._choice:
            masks = ((number, bytes(face.getmask(char))) for number, face in enumerate(self.faces))
            self._choice[char] = next((number for number, mask in masks if mask != self._absent[number]), 0)
        return self._choice[char]

    def runs(self, text: str) -> Iterator[tuple[str, Face]]:
        """A line, cut where the face changes."""
        for number, chars in groupby(text, self._face):
            yield "".join(chars), self.faces[number]

    def write(self, draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str) -> None:
        """One line in black, its base line at the same height whatever the faces."""
        x, y = at
        ascent = self.faces[0].getmetrics()[0]
        for run, face in self.runs(text):
            draw.text((x, y + ascent), run, fill=0, font=face, anchor="ls")
            x += face.getlength(run)


@cache
def typeface(size: int) -> Typeface:
    """Made once for each size: finding a character's face takes a while."""
    return Typeface(size)
