"""Who may prove himself here: terminals with a random secret, people with a password."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lanpost.model.address import MailAddress
from lanpost.model.device import UNKNOWN_DEVICE, Device
from lanpost.model.endpoint import SMTP_PORT

# The organizational unit in certificates of accounts that are no terminals: a mail server's in OpenLDAP.
CERTIFIED_ACCOUNTS = "accounts"


@dataclass(frozen=True, slots=True)
class Terminal:
    """An enrolled terminal. It may change its own binding; `speaks_for_others`, anybody's."""

    address: MailAddress
    secret_sha256: bytes  # of a random secret of high entropy: one hash is enough
    enrolled: datetime  # aware, UTC
    speaks_for_others: bool = False
    device: Device = UNKNOWN_DEVICE  # by which a DHCP server's word is known to be about it
    learn: bool = False  # its SMTP logins say where it is
    port: int = SMTP_PORT  # where it takes mail, when others say where it is


@dataclass(frozen=True, slots=True)
class User:
    """A person with a mailbox here."""

    address: MailAddress
    password_hash: str  # argon2id, PHC string; "": cannot log in
    created: datetime  # aware, UTC
