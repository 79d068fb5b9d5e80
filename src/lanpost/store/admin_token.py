"""The administrator's secret for the registration API: one line in `data/admin.token`, for root's eyes only."""

from __future__ import annotations

import secrets
from pathlib import Path

from lanpost.errors import StoreError
from lanpost.store.files import make_file_once, store_error

FILE_NAME = "admin.token"
SECRET_OCTETS = 32
MIN_LENGTH = 20  # characters; a shorter one was not made by us, and could be guessed


def admin_token(data: Path) -> str:
    """The secret, made at the first call. Of two processes that start at once, both get the same.

    Raises StoreError.
    """
    path = data / FILE_NAME
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        token = path.read_text("ascii").strip()
    except OSError as error:
        raise store_error(error, str(path)) from None
    except UnicodeDecodeError:
        token = ""
    if len(token) < MIN_LENGTH:
        raise StoreError(
            f"{path}: not a secret of at least {MIN_LENGTH} characters; remove it to have a new one made"
        )
    return token


def _make(path: Path) -> None:
    make_file_once(path, secrets.token_urlsafe(SECRET_OCTETS).encode() + b"\n")
