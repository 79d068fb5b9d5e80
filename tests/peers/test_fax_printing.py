"""Received faxes printed by CUPS."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from tests.fax_receiving import mail_of, receiving, tiff_of
from tests.mail_servers import wait_until
from tests.peers.cups import CupsServer

from lanpost.app.settings import Fax
from lanpost.errors import PrinterError
from lanpost.model.printer_url import PrinterUrl
from lanpost.net.printer import Printer, PrinterTrust
from lanpost.store.authority import Authority

pytestmark = pytest.mark.peer


async def test_each_fax_is_printed_as_pdf(tmp_path: Path) -> None:
    with CupsServer(tmp_path / "cups") as cups:
        async with receiving(tmp_path, replace(Fax(), printer=cups.url)) as machine:
            for pages in (1, 2):
                assert (await machine.take(mail_of(tiff_of(pages))))[0] == 250
            await machine.service.output.idle()
            assert sorted(cups.documents()) == sorted((fax / "fax.pdf").read_bytes() for fax in machine.faxes())
        wait_until(lambda: cups.log().count("Job completed") == 2, "both are printed", cups.log)
        assert 'Queued on "office" by "lanpost fax"' in cups.log()


async def test_a_printer_that_is_not_there_is_told_of_in_words(tmp_path: Path) -> None:
    with CupsServer(tmp_path / "cups") as cups:
        missing = PrinterUrl.parse(cups.url.replace("office", "none"))
        printer = Printer(missing, "lanpost")
        with pytest.raises(PrinterError, match=r"/printers/none: no such printer") as refused:
            await printer.print("x", {"application/pdf": b"%PDF-1.3"})
        assert not refused.value.permanent
        await printer.close()


async def test_a_printer_that_takes_no_jobs_now_is_asked_again_later(tmp_path: Path) -> None:
    with CupsServer(tmp_path / "cups", accepting=False) as cups:
        printer = Printer(PrinterUrl.parse(cups.url), "lanpost")
        with pytest.raises(PrinterError, match="not accepting jobs") as refused:
            await printer.print("x", {"application/pdf": b"%PDF-1.3"})
        assert not refused.value.permanent
        await printer.close()


async def test_of_a_document_that_form_is_printed_which_the_printer_takes(tmp_path: Path) -> None:
    with CupsServer(tmp_path / "cups") as cups:
        printer = Printer(PrinterUrl.parse(cups.url), "lanpost")
        assert await printer.print("x", {"application/x-nothing": b"x", "application/pdf": b"%PDF-1.3\n"}) == 1
        assert cups.documents() == [b"%PDF-1.3\n"]
        with pytest.raises(PrinterError, match="does not print this kind of document") as refused:
            await printer.print("x", {"application/x-nothing": b"x"})
        assert refused.value.permanent
        await printer.close()


async def test_a_printer_by_tls_is_known_by_its_authority_or_its_certificate(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.open(tmp_path / "ca", now)
    shown = authority.issue_server(["127.0.0.1"], now)
    with CupsServer(tmp_path / "cups", tls=shown) as cups:
        url = PrinterUrl.parse(cups.safe_url)

        async def say(trust: PrinterTrust) -> str:
            """The complaint; empty: it prints."""
            printer = Printer(url, "lanpost", trust=trust)
            try:
                await printer.print("x", {"application/pdf": b"%PDF-1.3\n"})
            except PrinterError as error:
                return str(error)
            finally:
                await printer.close()
            return ""

        digest = sha256(ssl.PEM_cert_to_DER_cert(shown[shown.index(b"-----BEGIN CERT") :].decode())).hexdigest()
        complaint = await say(PrinterTrust())
        assert "a certificate that nobody here vouches for" in complaint
        assert f'fax.printer_pin = "{digest}"' in complaint
        assert "another certificate than the one pinned" in await say(PrinterTrust(pin="0" * 64))
        assert cups.documents() == []
        assert await say(PrinterTrust(ssl.create_default_context(cafile=authority.ca_file))) == ""
        assert await say(PrinterTrust(pin=digest)) == ""
        assert cups.documents() == [b"%PDF-1.3\n"] * 2


async def test_each_fax_is_printed_by_tls_too(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "ca", datetime.now(UTC))
    shown = authority.issue_server(["127.0.0.1"], datetime.now(UTC))
    with CupsServer(tmp_path / "cups", tls=shown) as cups:
        fax = replace(Fax(), printer=cups.safe_url, ca_file=str(authority.ca_file))
        async with receiving(tmp_path, fax) as machine:
            assert (await machine.take(mail_of(tiff_of(1))))[0] == 250
            await machine.service.output.idle()
            assert cups.documents() == [(machine.faxes()[0] / "fax.pdf").read_bytes()]
