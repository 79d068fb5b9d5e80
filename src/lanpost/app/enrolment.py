"""What a terminal remembers of its enrolment: the token, and the authority that the token pins once it is known.

A terminal that was not given a token, and claimed its address, has made itself one of what it was told.

Kept in `<data>/agent/enrolment.json`, readable by its owner only. Standard library only. Raises ConfigurationError
where there is no usable enrolment, StoreError where the folder cannot be written.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lanpost.errors import ConfigurationError, InvalidValue, RegistrarUnreachable
from lanpost.model.discovery import Found, FoundBy
from lanpost.model.token import EnrolmentToken
from lanpost.net.registration_client import RegistrationClient
from lanpost.store import formats
from lanpost.store.files import give_to_folders_owner, replace_file, store_error

FILE = "enrolment.json"
CLAIM_FILE = "claim.json"
_REMEDY = "run `lanpost terminal add ADDRESS` at the server and paste the line that it prints here"
_OR_BY_NAME = "; or start `lanpost agent --name NAME`, where the server lets terminals claim their addresses"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`authority` is PEM, "" until the server was reached for the first time.

    `refresh_key` is of the registrar's refresh requests (Ed25519, raw), as it told it last; the token's until then.
    `found_by` is how the token's URLs came here; `moved_to` is where the server was found that was at none of them.
    """

    token: EnrolmentToken
    authority: str = ""
    refresh_key: bytes = b""
    found_by: FoundBy = FoundBy.TOKEN
    moved_to: Found | None = None
    known_as: str = ""  # the address that it was enrolled with, where the registrar has renamed it since

    @property
    def is_claimed(self) -> bool:
        """Nobody gave this terminal a token: it trusted the server that it met first."""
        return self.found_by is not FoundBy.TOKEN


@dataclass(frozen=True, slots=True)
class Claim:
    """What a terminal is about to claim, or has claimed without hearing an answer: kept before it asks."""

    name: str
    pin: str  # of the server that is asked; another one is shown another key
    key: str = field(repr=False)


def agent_folder(data: Path) -> Path:
    """The agent's own folder, made if need be. Raises StoreError, also where it is of another version's format."""
    formats.require(data)
    folder = data / "agent"
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            give_to_folders_owner(folder)
    except OSError as error:
        raise store_error(error, str(folder)) from None
    return folder


def save(folder: Path, enrolment: Enrolment) -> None:
    """Put an enrolment in force, durably, in place of the former one."""
    document: dict[str, Any] = {
        "token": enrolment.token.encode(),
        "authority": enrolment.authority,
        "refresh_key": enrolment.refresh_key.hex(),
        "found_by": enrolment.found_by,
        "known_as": enrolment.known_as,
    }
    if enrolment.moved_to:
        document["moved_to"] = {"url": enrolment.moved_to.url, "found_by": enrolment.moved_to.by}
    _write(folder / FILE, document)


def load_if_any(folder: Path) -> Enrolment | None:
    """The enrolment in force, None where there is none. Raises ConfigurationError where it cannot be read."""
    return load(folder) if (folder / FILE).exists() else None


def load(folder: Path) -> Enrolment:
    """The enrolment in force. Raises ConfigurationError with the remedy."""
    file = folder / FILE
    try:
        document = json.loads(file.read_text("utf-8"))
        token, authority = str(document["token"]), str(document["authority"])
        refresh_key = bytes.fromhex(document.get("refresh_key", ""))
        known_as = str(document.get("known_as", ""))
        found_by = FoundBy(document.get("found_by", FoundBy.TOKEN))
        moved = document.get("moved_to")
        moved_to = Found(str(moved["url"]), FoundBy(moved["found_by"])) if moved else None
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: this terminal is not enrolled; {_REMEDY}{_OR_BY_NAME}") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError):
        raise ConfigurationError(f"{file}: damaged; {_REMEDY}") from None
    try:
        decoded = EnrolmentToken.decode(token)
        return Enrolment(decoded, authority, refresh_key or decoded.refresh_key, found_by, moved_to, known_as)
    except InvalidValue as error:
        raise ConfigurationError(f"{file}: {error}") from None


def keep(folder: Path, enrolment: Enrolment, known: Enrolment) -> None:
    """Remember what was learned of the same enrolment. Not if somebody enrolled anew, or had it forgotten."""
    if known != enrolment:
        in_force = load_if_any(folder)
        if in_force is not None and in_force.token == enrolment.token:
            save(folder, known)


def save_claim(folder: Path, claim: Claim) -> None:
    """Keep a claim's key, durably, before anybody is shown it."""
    _write(folder / CLAIM_FILE, asdict(claim))


def load_claim(folder: Path) -> Claim | None:
    """The claim that is open, None where there is none that can be read."""
    try:
        document = json.loads((folder / CLAIM_FILE).read_text("utf-8"))
        return Claim(*(str(document[name]) for name in ("name", "pin", "key")))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def close_claim(folder: Path) -> None:
    """It has become an enrolment."""
    with contextlib.suppress(OSError):
        (folder / CLAIM_FILE).unlink(missing_ok=True)


def forget(folder: Path) -> Enrolment | None:
    """Trust nobody any more, and have no secret: as before the first enrolment.

    Returns what was in force, if it could be read. Raises StoreError.
    """
    try:
        former = load_if_any(folder)
    except ConfigurationError:
        former = None
    try:
        for name in (FILE, CLAIM_FILE):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise store_error(error, str(folder)) from None
    return former


async def enrol(data: Path, text: str) -> tuple[Enrolment, str]:
    """Take a pasted token in and keep it; the second value says why the server could not be asked, "" if it was.

    Raises what `recognised` raises; then nothing is kept.
    """
    enrolment, unreachable = await recognised(text)
    folder = agent_folder(data)
    save(folder, enrolment)
    close_claim(folder)
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


def _write(file: Path, document: dict[str, Any]) -> None:
    try:
        replace_file(file, json.dumps(document, indent=1).encode(), 0o600)
    except OSError as error:
        raise store_error(error, str(file)) from None
