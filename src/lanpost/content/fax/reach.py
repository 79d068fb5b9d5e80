"""What the machines that get a fax can do beyond profile S, by the words in the chart; and what is drawn for them.

The words stand behind a fax number, `+81 3 1234 5678$twoDimensional$a3Width` (RFC 4517 §3.3.11). Those for finer
pages are X.411's names for bits of T.30 that RFC 4517 leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lanpost.content.fax.page import FINE, STANDARD, SUPERFINE, WIDTH, X_DPI, FaxPage
from lanpost.content.fax.profile_s import in_profile_f, in_profile_s


@dataclass(frozen=True, slots=True)
class Paper:
    """A format upright: dots across at 204 an inch, rows at 98."""

    width: int
    rows: int

    def height(self, y_dpi: int) -> int:
        """Rows at that resolution; T.30's are 3.85, 7.7 and 15.4 lines a millimetre, so each doubles the last."""
        return self.rows * {STANDARD: 1, FINE: 2, SUPERFINE: 4}[y_dpi]

    def inches(self) -> tuple[float, float]:
        return self.width / X_DPI, self.rows / STANDARD


A4, B4, A3 = Paper(WIDTH, 1146), Paper(2048, 1402), Paper(2432, 1617)


@dataclass(frozen=True, slots=True)
class Drawing:
    """How pages are drawn: on which papers, the smallest first, and as finely as can be where `superfine`."""

    papers: tuple[Paper, ...] = (A4,)
    superfine: bool = False

    def y_dpi(self, *, fine: bool) -> int:
        """Dots an inch, down the page."""
        return SUPERFINE if self.superfine else FINE if fine else STANDARD


AS_PROFILE_S = Drawing()


@dataclass(frozen=True, slots=True)
class Reach:
    """What every one of some machines reads."""

    mmr: bool = False  # profile F; without it the rest counts for nothing
    papers: tuple[Paper, ...] = (A4,)
    superfine: bool = False  # 204 x 391
    dots: frozenset[int] = frozenset()  # 300, 400: so many an inch each way; 400 goes for 408 x 391, too

    def drawing(self, *, superfine: bool) -> Drawing:
        """How pages for them are drawn; `superfine` where they read it."""
        return Drawing(self.papers, superfine=superfine and self.superfine) if self.mmr else AS_PROFILE_S

    def fault(self, page: FaxPage) -> str:
        """Why they may not read a page as it is; empty: they do."""
        if not self.mmr:
            return in_profile_s(page)
        fault = in_profile_f(page)
        if fault:
            return fault
        if page.x_dpi >= 300 and (300 if page.x_dpi == 300 else 400) not in self.dots:
            return f"of {page.x_dpi} dots an inch"
        if page.x_dpi < 300 and page.y_dpi > 200 and not self.superfine:
            return f"of {page.y_dpi} rows an inch"
        widest = max(paper.inches()[0] for paper in self.papers)
        return f"{page.width} dots wide" if page.width / page.x_dpi > widest * 1.03 else ""


NOTHING_KNOWN = Reach()


def reach_of(words: Iterable[str]) -> Reach:
    """Of a machine of which the chart says this, in lower case."""
    said = frozenset(words)
    papers = [A4]
    if said & {"b4width", "a3width"}:
        papers.append(B4)  # T.30 has no machine for A3 that cannot print B4
    if "a3width" in said:
        papers.append(A3)
    return Reach(
        mmr="twodimensional" in said,
        papers=tuple(papers),
        superfine="resolution8x15" in said,
        dots=frozenset(dots for dots in (300, 400) if f"resolution{dots}x{dots}" in said),
    )


def common(reaches: Iterable[Reach]) -> Reach:
    """What all of them read."""
    found = list(reaches)
    if not found:
        return NOTHING_KNOWN
    return Reach(
        mmr=all(each.mmr for each in found),
        papers=min((each.papers for each in found), key=len),
        superfine=all(each.superfine for each in found),
        dots=frozenset.intersection(*(each.dots for each in found)),
    )
