"""What a terminal remembers of its enrolment: the token, and the authority that the token pins once it is known.

Kept in `<data>/agent/enrolment.json`, readable by its owner only. Standard library only. Raises ConfigurationError
where there is no usable enrolment, StoreError where the folder cannot be written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from lanpost.errors import ConfigurationError, InvalidValue, RegistrarUnreachable
from lanpost.model.token import EnrolmentToken
from lanpost.net.registration_client import RegistrationClient
from lanpost.store.files import replace_file, store_error

FILE = "enrolment.json"
_REMEDY = "run `lanpost terminal add ADDRESS` at the server and paste the line that it prints here"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`authority` is PEM, "" until the server was reached for the first time.

    `refresh_key` is of the registrar's refresh requests (Ed25519, raw), as it told it last; the token's until then.
    """

    token: EnrolmentToken
    authority: str = ""
    refresh_key: bytes = b""


def agent_folder(data: Path) -> Path:
    """The agent's own folder, made if need be. Raises StoreError."""
    folder = data / "agent"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise store_error(error, str(folder)) from None
    return folder


def save(folder: Path, enrolment: Enrolment) -> None:
    """Put an enrolment in force, durably, in place of the former one."""
    document = {
        "token": enrolment.token.encode(),
        "authority": enrolment.authority,
        "refresh_key": enrolment.refresh_key.hex(),
    }
    try:
        replace_file(folder / FILE, json.dumps(document, indent=1).encode(), 0o600)
    except OSError as error:
        raise store_error(error, str(folder / FILE)) from None


def load(folder: Path) -> Enrolment:
    """The enrolment in force. Raises ConfigurationError with the remedy."""
    file = folder / FILE
    try:
        document = json.loads(file.read_text("utf-8"))
        token, authority = str(document["token"]), str(document["authority"])
        refresh_key = bytes.fromhex(document.get("refresh_key", ""))
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: this terminal is not enrolled; {_REMEDY}") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError):
        raise ConfigurationError(f"{file}: damaged; {_REMEDY}") from None
    try:
        decoded = EnrolmentToken.decode(token)
        return Enrolment(decoded, authority, refresh_key or decoded.refresh_key)
    except InvalidValue as error:
        raise ConfigurationError(f"{file}: {error}") from None


def keep(folder: Path, enrolment: Enrolment, authority: str, refresh_key: bytes) -> Enrolment:
    """Remember the authority that the token's pin has vouched for, and the key that it told of.

    Not if somebody has enrolled anew meanwhile.
    """
    known = replace(enrolment, authority=authority, refresh_key=refresh_key or enrolment.refresh_key)
    if known != enrolment and load(folder).token == enrolment.token:
        save(folder, known)
    return known


async def enrol(data: Path, text: str) -> tuple[Enrolment, str]:
    """Take a pasted token in and keep it; the second value says why the server could not be asked, "" if it was.

    Raises what `recognised` raises; then nothing is kept.
    """
    enrolment, unreachable = await recognised(text)
    save(agent_folder(data), enrolment)
    return enrolment, unreachable


async def recognised(text: str) -> tuple[Enrolment, str]:
    """What a pasted token says, once its server has been asked; the second value says why it could not be.

    Raises InvalidValue for what is no token, RegistrarUntrusted when the server that answers is not the token's,
    RegistrationRefused when a directory does not take its secret.
    """
    token = EnrolmentToken.decode(text)
    enrolment = Enrolment(token, refresh_key=token.refresh_key)
    try:
        return replace(enrolment, authority=await RegistrationClient(token).recognise()), ""
    except RegistrarUnreachable as error:
        return enrolment, str(error)
