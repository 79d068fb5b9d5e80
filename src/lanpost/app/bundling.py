"""`lanpost bundle`: a stick with the program and all that whoever lets it into a closed network asks for."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lanpost.app.settings import Settings
from lanpost.content.archive import BUNDLE, Archive
from lanpost.content.bundle_text import PROGRAM, PUBLISHERS, READ_ME, SIGNATURE, SIGNERS, SUMS, read_me, sums
from lanpost.content.sshsig import NAMESPACE
from lanpost.errors import LanpostError, StoreError
from lanpost.store.archive_file import check_archive, publisher_signature, sha256_of
from lanpost.store.bundle_folder import BundleFolder, Content
from lanpost.store.program_file import own_archive

KEYS_FOLDER = "tls"  # in `data`, as app/certificates.py has it, which loads cryptography
SIGN_SECONDS = 120.0  # for a person to type a pass phrase or touch a token


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that is to be on a stick, and which of it is not there yet. `signed` says by whom, for people."""

    folder: BundleFolder
    contents: Mapping[str, Content]
    missing: Sequence[str]
    version: str
    signed: str

    @property
    def octets(self) -> int:
        """That are to be written."""
        return sum(self.contents[name].size for name in self.missing)

    def write(self, wrote: Callable[[int], object] = lambda _octets: None) -> None:
        """Write what is missing; `wrote` is told of octets. Raises StoreError; done again, it goes on there."""
        # The sums last: where they are, everything is.
        for name in sorted(self.missing, key=lambda name: (name == SUMS, name)):
            self.folder.write(name, self.contents[name], wrote)


def prepare(settings: Settings, folder: Path, file: Path | None = None, key: Path | None = None) -> Bundle:
    """Look at everything before anything is written: the file, the folder, and the room there.

    `file`: another lanpost.pyz than our own; `key`: the SSH key that signs, else the server's. Raises LanpostError.
    """
    file = file or own_archive()
    if file is None:
        raise LanpostError("this program came in no lanpost.pyz: build one (`make dist`), and name it by --file")
    archive = check_archive(file)
    sha256 = sha256_of(file)
    signatures, signed = _signatures(settings, file, key)
    contents = {PROGRAM: Content.of_file(file, sha256), f"{PROGRAM}.sha256": _text(f"{sha256}  {PROGRAM}\n")}
    contents |= _beside(file)
    contents |= {name: _text(text) for name, text in signatures.items()}
    contents[READ_ME] = _text(_read_me(archive, signatures))
    contents[SUMS] = _text(sums({name: content.sha256 for name, content in contents.items()}))
    target = BundleFolder(folder)
    return Bundle(target, contents, target.missing(contents), archive.version, signed)


def _signatures(settings: Settings, file: Path, key: Path | None) -> tuple[dict[str, str], str]:
    """Files by name, and by whom they are."""
    found: dict[str, str] = {}
    signed = []
    if key is not None:
        found[SIGNATURE], found[SIGNERS] = _signed_by(key, file)
        signed.append(str(key))
    elif own := _servers_signature(settings.data / KEYS_FOLDER, file):
        found[SIGNATURE], found[SIGNERS] = own
        signed.append("this server")
    if publishers := publisher_signature(file):
        found[PUBLISHERS] = publishers
        signed.append("its publisher")
    return found, " and ".join(signed)


def _servers_signature(keys: Path, file: Path) -> tuple[str, str] | None:
    """None where no server has been run here, or we may not read its keys, or are not installed."""
    try:
        if not (keys / "ca.key").exists():
            return None
        from lanpost.app.program_offer import read_offer  # loads cryptography, which is native code

        offer = read_offer(file, keys)
    except (OSError, StoreError, ModuleNotFoundError):
        return None
    return offer.signature, offer.signers


def _beside(file: Path) -> dict[str, Content]:
    """What the archive holds for a stick."""
    found = {}
    with zipfile.ZipFile(file) as archive:  # proven whole before
        for name in archive.namelist():
            if name.startswith(BUNDLE):
                found[name.removeprefix(BUNDLE)] = Content.of(archive.read(name))
    return found


def _read_me(archive: Archive, signatures: Container[str]) -> str:
    pythons = [".".join(map(str, python)) for python in archive.pythons]
    return read_me(
        archive.version,
        pythons,
        archive.architectures,
        own=SIGNATURE in signatures,
        publishers=PUBLISHERS in signatures,
    )


def _signed_by(key: Path, file: Path) -> tuple[str, str]:
    """Signature and line of allowed_signers, by the system's ssh-keygen: the key may be in an agent."""
    try:
        with file.open("rb") as content:
            signature = _ssh_keygen("-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key), content=content)
        public = key.with_name(key.name.removesuffix(".pub") + ".pub")
        shown = public.read_text("utf-8") if public.exists() else _ssh_keygen("-y", "-f", str(key))
    except FileNotFoundError as error:
        if error.filename == "ssh-keygen":
            raise LanpostError("ssh-keygen is not installed here: apt-get install openssh-client") from None
        raise LanpostError(f"{error.filename}: there is no such key") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LanpostError(f"{key}: it cannot be read: {error}") from None
    kind, _, rest = shown.strip().partition(" ")
    return signature, f'lanpost namespaces="{NAMESPACE}" {kind} {rest.split(" ")[0]}\n'


def _ssh_keygen(*words: str, content: IO[bytes] | None = None) -> str:
    # It asks for a pass phrase at the terminal itself, not at its standard input.
    try:
        done = subprocess.run(
            ["ssh-keygen", *words], stdin=content, capture_output=True, text=True, timeout=SIGN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise LanpostError(f"ssh-keygen has not signed within {SIGN_SECONDS:g} s") from None
    if done.returncode:
        why = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise LanpostError(f"ssh-keygen does not sign with that key: {why}")
    return done.stdout


def _text(text: str) -> Content:
    return Content.of(text.encode())
