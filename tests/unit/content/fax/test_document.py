"""A file is what its content says, and what cannot be faxed is refused with the remedy."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pikepdf
import pytest
from tests.fax_documents import lines_of_text, pdf, photograph

from lanpost.content.fax.document import open_document
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.profile_s import write_profile_f, write_profile_s
from lanpost.content.fax.reach import reach_of
from lanpost.content.fax.text_page import pages_of_text
from lanpost.errors import InvalidFax


def saved(folder: Path, data: bytes, name: str = "file") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def picture(kind: str) -> bytes:
    written = BytesIO()
    photograph((60, 80)).save(written, kind)
    return written.getvalue()


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        (pdf(lines_of_text(), lines_of_text()), 2),
        (b"junk before\n" + pdf(lines_of_text()), 1),
        (picture("PNG"), 1),
        (picture("TIFF"), 1),
        ("Grüße\fzwei".encode(), 2),
        ("Grüße".encode("cp1252"), 1),
        ("Grüße".encode("utf-16"), 1),
    ],
)
def test_the_content_tells_what_it_is_and_the_count_is_that_of_the_pages(
    tmp_path: Path, data: bytes, pages: int
) -> None:
    document = open_document(saved(tmp_path, data, "misleading.jpg"), fine=False)
    assert document.count == len(list(document.pages())) == pages


def test_a_fax_as_tiff_is_passed_dot_by_dot_whatever_its_resolution(tmp_path: Path) -> None:
    pages = list(pages_of_text("one\ftwo", True))
    file = saved(tmp_path, b"".join(write_profile_s(pages, 2)))
    assert list(open_document(file, fine=False).pages()) == pages


def test_a_finer_fax_is_passed_to_whom_reads_it_and_drawn_anew_for_the_others(tmp_path: Path) -> None:
    page = FaxPage(2592, 3508, 300, 300, bytes(324 * 3508))
    file = saved(tmp_path, b"".join(write_profile_f([page], 1)))
    for words, passes in (({"resolution300x300"}, True), (set(), False)):
        reach = reach_of({"twodimensional", *words})
        assert (list(open_document(file, fine=False, reach=reach).pages()) == [page]) is passes
    (drawn,) = open_document(file, fine=False).pages()
    assert (drawn.width, drawn.y_dpi) == (1728, 98)


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (b"", "empty"),
        (b"PK\x03\x04 a letter", "save it as PDF"),
        (b"{\\rtf1 a letter}", "save it as PDF"),
        (b"\x00\x01\x02 whatever", "save it as PDF"),
        (b"%PDF-1.7\nbroken", "damaged"),
    ],
)
def test_what_cannot_be_faxed_is_named_with_the_remedy(tmp_path: Path, data: bytes, remedy: str) -> None:
    file = saved(tmp_path, data)
    with pytest.raises(InvalidFax, match=remedy) as error:
        open_document(file, fine=False)
    assert str(file) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFax, match=r"absent\.pdf: No such file"):
        open_document(tmp_path / "absent.pdf", fine=False)


def test_a_locked_pdf_is_said_to_be_one(tmp_path: Path) -> None:
    locked = BytesIO()
    with pikepdf.open(BytesIO(pdf(lines_of_text()))) as document:
        document.save(locked, encryption=pikepdf.Encryption(owner="o", user="u"))
    with pytest.raises(InvalidFax, match="password"):
        open_document(saved(tmp_path, locked.getvalue()), fine=False)
