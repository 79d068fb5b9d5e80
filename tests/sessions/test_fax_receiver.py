"""Faxes taken by the receiving fax machine, handed in by smtplib."""

from __future__ import annotations

import asyncio
import io
import sys
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from PIL import Image
from tests.fax_receiving import ANNA, FAX, mail_of, page_of, receiving, tiff_of

from lanpost.app import fax_decoding
from lanpost.app.settings import Fax
from lanpost.content.fax.reading import read_pages
from lanpost.content.report_text import xtext
from lanpost.errors import ConfigurationError


async def test_a_fax_is_a_folder_when_its_mail_is_answered(tmp_path: Path) -> None:
    tiff = tiff_of(2)
    async with receiving(tmp_path) as machine:
        code, said = await machine.take(mail_of(tiff))
        assert (code, said.partition(" stored")[0]) == (250, "2.0.0 Ok: fax of 2 pages")
        folder, facts = machine.fax()
        assert facts["id"] in said
        assert folder.name.endswith(facts["id"])
        assert sorted(file.name for file in folder.iterdir()) == [
            *("fax.json", "fax.pdf", "fax.tif", "mail.eml", "page-001.png", "page-002.png"),
        ]
        assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())
        assert (folder / "fax.tif").read_bytes() == tiff
        mail = (folder / "mail.eml").read_bytes()
        assert mail.startswith(
            b"Return-Path: <anna@office.lan>\r\nReceived: from sender.test ([127.0.0.1])\r\n\tby "
        )
        assert mail.endswith(mail_of(tiff))
        assert (facts["sender"], facts["recipient"], facts["client"]) == (ANNA, str(FAX), "127.0.0.1")
        assert (facts["subject"], facts["message_id"]) == ("Order 17", "<17@office.lan>")
        page = {"width": 1728, "height": 300, "x_dpi": 204, "y_dpi": 196, "damaged_lines": 0}
        assert facts["pages"] == [{**page, "picture": f"page-00{number}.png"} for number in (1, 2)]


async def test_picture_and_pdf_show_each_dot_that_was_sent(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        await machine.take(mail_of(tiff_of(2)))
        folder, _ = machine.fax()
        sent = [page_of(number) for number in range(2)]
        for number, page in enumerate(sent, 1):
            with Image.open(folder / f"page-00{number}.png") as picture:
                assert picture.size == (1728, 300)
                assert bytes(255 - octet for octet in picture.convert("1").tobytes()) == page.raster
        with pikepdf.open(folder / "fax.pdf") as pdf:
            images = [each.obj.Resources.XObject.Page for each in pdf.pages]
            assert [str(image.Filter) for image in images] == ["/CCITTFaxDecode"] * 2
            assert [float(side) for side in pdf.pages[0].mediabox] == [0, 0, 609.882, 110.204]
        shown = pypdfium2.PdfDocument(folder / "fax.pdf")
        for drawn, page in zip(shown, sent, strict=True):
            (image,) = drawn.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE])
            dots = image.get_bitmap(render=False).to_pil().convert("1")
            assert bytes(255 - octet for octet in dots.tobytes()) == page.raster
        shown.close()


async def test_text_and_several_tiffs_become_one_fax(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        code, said = await machine.take(mail_of("See the two drawings.", tiff_of(2), tiff_of(1)))
        assert code == 250, said
        folder, facts = machine.fax()
        assert len(facts["pages"]) == 4
        pages = list(read_pages((folder / "fax.tif").read_bytes()))
        assert pages[1:] == [page_of(0), page_of(1), page_of(0)]
        assert any(pages[0].raster)


async def test_a_scan_of_an_office_machine_is_kept_beside_a_text_as_it_is(tmp_path: Path) -> None:
    """Of 300 dots an inch and not of a fax's width; MMR holds it all the same."""
    made = io.BytesIO()
    Image.new("1", (2480, 350), 1).save(made, "TIFF", compression="group4", dpi=(300, 300))
    async with receiving(tmp_path) as machine:
        code, said = await machine.take(mail_of("Our order", made.getvalue()))
        assert code == 250, said
        folder, facts = machine.fax()
        assert [(page["width"], page["x_dpi"]) for page in facts["pages"]] == [(1728, 204), (2480, 300)]
        assert [page.width for page in read_pages((folder / "fax.tif").read_bytes())] == [1728, 2480]


async def test_a_pdf_is_a_fax_too(tmp_path: Path) -> None:
    made = io.BytesIO()
    Image.new("L", (850, 1100), 0).save(made, "PDF", resolution=100)
    mail = EmailMessage()
    mail.set_content(made.getvalue(), "application", "pdf")
    async with receiving(tmp_path) as machine:
        assert (await machine.take(mail.as_bytes()))[0] == 250
        _, facts = machine.fax()
        assert [page["width"] for page in facts["pages"]] == [1728]


@pytest.mark.parametrize(
    ("mail", "reason"),
    [
        (mail_of(b"II*\0" + b"\xff" * 50), "part 1"),
        (mail_of(tiff_of(2), tiff_of(1)[:200]), "part 3 (fax.tif)"),
        (b"Content-Type: text/html\r\n\r\n<p>\r\n", "part 1 is text/html"),
    ],
    ids=["broken", "one of two", "html"],
)
async def test_what_cannot_be_read_is_refused_whole_and_nothing_is_kept(
    tmp_path: Path, mail: bytes, reason: str
) -> None:
    async with receiving(tmp_path) as machine:
        code, said = await machine.take(mail)
        assert (code, said[:5]) == (554, "5.6.1")
        assert reason in said
        assert (await machine.take(mail_of(tiff_of(1))))[0] == 250  # in order behind it
        assert len(machine.faxes()) == 1
        assert machine.leftovers() == []


def with_damage(tiff: bytes) -> bytes:
    """A line of the black stripe is spoilt; the others, and the ends of lines, are whole."""
    at = next(at for at in range(400, len(tiff)) if tiff[at : at + 1] not in (b"\0", b"\x80"))
    spoilt = bytearray(tiff)
    found = spoilt.find(page_line(tiff), at)
    assert found > 0
    spoilt[found + 3] ^= 0xFF
    return bytes(spoilt)


def page_line(tiff: bytes) -> bytes:
    """The commonest eight octets of the bits: of a line that stands there again and again."""
    body = tiff[300:]
    pieces = [body[at : at + 8] for at in range(len(body) - 8)]
    return max(set(pieces), key=pieces.count)


async def test_damaged_lines_are_told_to_the_sender_and_to_the_reader(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        code, said = await machine.take(mail_of(with_damage(tiff_of(1))))
        assert code == 250, said
        _, facts = machine.fax()
        lines = facts["damaged_lines"]
        assert lines >= 1
        assert said.endswith(f"; {lines} damaged line{'s' if lines > 1 else ''} on page 1")
        assert facts["pages"][0]["damaged_lines"] == lines


async def test_more_pages_than_are_allowed_are_refused(tmp_path: Path) -> None:
    async with receiving(tmp_path, replace(Fax(), pages=2)) as machine:
        code, said = await machine.take(mail_of(tiff_of(3)))
        assert (code, said) == (
            554,
            "5.6.1 This fax cannot be taken: it has more than 2 pages, and no more are taken at once",
        )
        assert (machine.faxes(), machine.leftovers()) == ([], [])


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"decode_timeout": 0.01}, "more than 0.01 s"), ({"decode_memory": 60_000_000}, "more than 57 MiB of memory")],
    ids=["time", "memory"],
)
async def test_what_takes_too_much_to_read_is_refused(
    tmp_path: Path, limits: dict[str, float], reason: str
) -> None:
    async with receiving(tmp_path, replace(Fax(), **limits)) as machine:  # type: ignore[arg-type]
        code, said = await machine.take(mail_of(tiff_of(1)))
        assert code == 554, said
        assert reason in said
        assert (machine.faxes(), machine.leftovers()) == ([], [])


async def test_it_is_this_terminal_also_at_the_ip_that_was_reached_and_nobody_else(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        for other in ("fax1@[127.0.0.2]", "fax2@[127.0.0.1]"):
            assert (await machine.take(mail_of(tiff_of(1)), to=other))[1].startswith("5.1.1"), other
        assert (await machine.take(mail_of(tiff_of(1)), to="fax2@office.lan"))[1].startswith("4.1.1")
        assert (await machine.take(mail_of(tiff_of(1)), to="FAX1@[127.0.0.1]"))[0] == 250


async def test_faxes_that_come_together_are_all_taken(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        answers = await asyncio.gather(*(machine.take(mail_of(tiff_of(1))) for _ in range(4)))
        assert [code for code, _ in answers] == [250] * 4
        assert len(machine.faxes()) == 4


async def test_whoever_would_wait_too_long_for_others_is_asked_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fax_decoding, "WAIT_SECONDS", 0.001)
    async with receiving(tmp_path, replace(Fax(), decoders=1)) as machine:
        answers = await asyncio.gather(*(machine.take(mail_of(tiff_of(1))) for _ in range(2)))
        taken, put_off = sorted(answers)
        assert taken[0] == 250
        assert put_off == (451, "4.3.2 Busy with other faxes, try again later")
        assert (len(machine.faxes()), machine.leftovers()) == (1, [])


async def test_a_library_that_fell_over_takes_its_fax_with_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = tmp_path / "python"
    falling.write_text("#!/bin/sh\nkill -SEGV $$\n")
    falling.chmod(0o700)
    async with receiving(tmp_path) as machine:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(falling))
            code, said = await machine.take(mail_of(tiff_of(1)))
        assert (code, said) == (554, "5.6.1 This fax cannot be taken: nothing here can read it (SIGSEGV)")
        assert machine.leftovers() == []
        assert (await machine.take(mail_of(tiff_of(1))))[0] == 250


async def test_what_is_no_fault_of_the_fax_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho No module named PIL >&2\nexit 1\n")
    failing.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(failing))
    async with receiving(tmp_path) as machine:
        assert (await machine.take(mail_of(tiff_of(1))))[0] == 451
        assert (machine.faxes(), machine.leftovers()) == ([], [])


async def test_what_a_former_process_left_half_made_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "faxes" / ".work" / "20261127-half"
    left.mkdir(parents=True)
    (left / "mail.eml").write_bytes(b"x")
    async with receiving(tmp_path) as machine:
        assert machine.leftovers() == []


async def test_a_command_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[fax\] command: there is no program '/no/such'"):
        async with receiving(tmp_path, replace(Fax(), command=("/no/such",))):
            pass


async def test_a_sender_who_leaves_before_the_end_leaves_nothing(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        reader, writer = await asyncio.open_connection("127.0.0.1", machine.port)
        await reader.readline()
        writer.write(b"HELO x\r\nMAIL FROM:<a@office.lan>\r\nRCPT TO:<fax1@office.lan>\r\nDATA\r\n")
        for _ in range(4):
            await reader.readline()
        writer.write(b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n")
        await writer.drain()
        writer.close()
        assert (await machine.take(mail_of(tiff_of(1))))[0] == 250
        assert len(machine.faxes()) == 1
        assert machine.leftovers() == []


NUMBER = replace(Fax(), number="+81312345678")


@pytest.mark.parametrize(
    ("to", "subaddress"),
    [
        ("FAX=+81312345678@fax1.office.lan", ""),
        ("fax=+81312345678/t33s=12@office.lan", "12"),
        ("FAX=81312345678/T33S=4711@[127.0.0.1]", "4711"),
        ("+81312345678@office.lan", ""),
    ],
)
async def test_mail_for_its_own_number_is_taken_and_the_subaddress_told(
    tmp_path: Path, to: str, subaddress: str
) -> None:
    async with receiving(tmp_path, NUMBER) as machine:
        assert (await machine.take(mail_of(tiff_of(1)), to=to))[0] == 250
        _, facts = machine.fax()
        assert (facts["recipient"], facts["subaddress"]) == (str(FAX), subaddress)


async def test_the_subaddress_is_found_where_the_server_put_our_address_in_place_of_the_number(
    tmp_path: Path,
) -> None:
    async with receiving(tmp_path, NUMBER) as machine:
        original = xtext("FAX=+81312345678/T33S=12@office.lan")
        assert (await machine.take(mail_of(tiff_of(1)), notify=[f"ORCPT=rfc822;{original}"]))[0] == 250
        assert machine.fax()[1]["subaddress"] == "12"


@pytest.mark.parametrize(
    ("fax", "to", "code"),
    [
        (NUMBER, "FAX=+81312345679@fax1.office.lan", 550),
        (NUMBER, "FAX=+81312345679@[127.0.0.1]", 550),
        (NUMBER, "FAX=+81312345678@fax2.office.lan", 550),
        (NUMBER, "FAX=+81312345679@office.lan", 450),
        (Fax(), "FAX=+81312345678@[127.0.0.1]", 550),
    ],
)
async def test_another_number_is_refused(tmp_path: Path, fax: Fax, to: str, code: int) -> None:
    async with receiving(tmp_path, fax) as machine:
        assert (await machine.take(mail_of(tiff_of(1)), to=to))[0] == code
        assert machine.faxes() == []
