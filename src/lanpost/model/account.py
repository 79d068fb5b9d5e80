"""Who may prove himself here: terminals with a random secret, people with a password."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lanpost.model.address import MailAddress

# The organizational unit in certificates of accounts that are no terminals: a mail server's in OpenLDAP.
CERTIFIED_ACCOUNTS = "accounts"


@dataclass(frozen=True, slots=True)
class Terminal:
    """An enrolled terminal. It may change its own binding; `speaks_for_others`, anybody's."""

    address: MailAddress
    secret_sha256: bytes  # of a random secret of high entropy: one hash is enough
    enrolled: datetime  # aware, UTC
    speaks_for_others: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """A person with a mailbox here."""

    address: MailAddress
    password_hash: str  # argon2id, PHC string; "": cannot log in
    created: datetime  # aware, UTC
