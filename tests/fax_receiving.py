"""A receiving fax machine inside the test's event loop, and faxes to send to it.

async with receiving(tmp_path) as machine:
    code, text = await machine.take(mail_of(tiff_of(3)))
"""

from __future__ import annotations

import asyncio
import json
import smtplib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

from lanpost.app import enrolment
from lanpost.app.enrolment import Enrolment
from lanpost.app.fax_receiver import FaxService, start_fax_receiver
from lanpost.app.setting_values import Listen
from lanpost.app.settings import Agent, Fax, Limits, Settings
from lanpost.content.fax.page import FINE, WIDTH, X_DPI, FaxPage
from lanpost.content.fax.profile_s import write_profile_s
from lanpost.model.address import MailAddress
from lanpost.model.token import EnrolmentToken

FAX = MailAddress.parse("fax1@office.lan")
ANNA = "anna@office.lan"
TOKEN = EnrolmentToken(("https://127.0.0.1:9",), "0" * 64, FAX, "s3cret")


def page_of(number: int, height: int = 300) -> FaxPage:
    """A small page, different for each number: a black stripe that begins further down."""
    row, black = bytes(WIDTH // 8), b"\xff" * 50 + bytes(WIDTH // 8 - 50)
    rows = [black if 10 * number <= at < 10 * number + 5 else row for at in range(height)]
    return FaxPage(WIDTH, height, X_DPI, FINE, b"".join(rows))


def tiff_of(pages: int) -> bytes:
    return b"".join(write_profile_s((page_of(number) for number in range(pages)), pages))


def mail_of(*parts: bytes | str, **headers: str) -> bytes:
    """A text for each str, a TIFF for each bytes; `Disposition_Notification_To` is such a header."""
    mail = EmailMessage()
    mail["From"] = f"Anna <{ANNA}>"
    mail["To"] = str(FAX)
    mail["Subject"] = "Order 17"
    mail["Message-ID"] = "<17@office.lan>"
    for name, value in headers.items():
        del mail[name.replace("_", "-")]
        mail[name.replace("_", "-")] = value
    first, *others = parts
    if isinstance(first, str) or others:
        mail.make_mixed()
        for part in parts:
            if isinstance(part, str):
                mail.attach(_text(part))
            else:
                mail.add_attachment(part, "image", "tiff", params={"application": "faxbw"}, filename="fax.tif")
    else:
        mail.set_content(first, "image", "tiff", params={"application": "faxbw"})
    return mail.as_bytes(policy=SMTP)


def _text(text: str) -> EmailMessage:
    part = EmailMessage()
    part.set_content(text)
    return part


class Machine:
    """One that runs."""

    def __init__(self, service: FaxService, folder: Path) -> None:
        self.service = service
        self.folder = folder

    @property
    def port(self) -> int:
        return self.service.ports[0]

    def faxes(self) -> list[Path]:
        """The folders of faxes, the oldest first."""
        return sorted(each for each in self.folder.iterdir() if not each.name.startswith("."))

    def fax(self) -> tuple[Path, dict[str, Any]]:
        """The only one, and its fax.json."""
        (folder,) = self.faxes()
        return folder, json.loads((folder / "fax.json").read_bytes())

    def leftovers(self) -> list[str]:
        """What lies about that belongs to no fax."""
        return sorted(each.name for each in (self.folder / ".work").iterdir() if each.name != "todo")

    async def take(
        self, mail: bytes, *, options: Sequence[str] = (), notify: Sequence[str] = (), to: str = str(FAX)
    ) -> tuple[int, str]:
        """Hand it a mail; its answer to the end of the content."""
        return await asyncio.to_thread(self._take, mail, options, notify, to)

    def _take(self, mail: bytes, options: Sequence[str], notify: Sequence[str], to: str) -> tuple[int, str]:
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="sender.test", timeout=30) as client:
            client.ehlo()
            assert client.mail(ANNA, list(options))[0] == 250
            code, said = client.rcpt(to, list(notify))
            if code == 250:
                code, said = client.data(mail)
            return code, said.decode()


@asynccontextmanager
async def receiving(folder: Path, fax: Fax | None = None) -> AsyncIterator[Machine]:
    """Its faxes are in `folder`/faxes."""
    agent = replace(Agent(), listen=(Listen("127.0.0.1", 0),))
    limits = replace(Limits(), free_disk=1)
    settings = Settings(data=folder, hostname="fax1.test", agent=agent, fax=fax or Fax(), limits=limits)
    own = enrolment.agent_folder(folder)
    enrolment.save(own, Enrolment(TOKEN))
    service = await start_fax_receiver(settings, FAX, own)
    try:
        yield Machine(service, folder / "faxes")
    finally:
        await service.stop()
