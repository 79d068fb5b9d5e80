"""An Ed25519 key in a file of its own, made when it is first needed. Raises StoreError."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lanpost.errors import StoreError
from lanpost.store.files import give_to_folders_owner, make_file_once, store_error


class SigningKey:
    """An Ed25519 key pair (RFC 8032)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public: Ed25519PublicKey = key.public_key()

    @classmethod
    def at(cls, path: Path, who_learns: str) -> Self:
        """The key in that file, made if need be. Of two processes that start at once, both get the same.

        `who_learns` completes the advice what a new key would mean.
        """
        try:
            if not path.exists():
                _make(path)
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise store_error(error, str(path)) from None
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise StoreError(
                f"{path}: not an Ed25519 key: restore it from a backup, or remove it to have a new one made, which "
                f"{who_learns}"
            )
        return cls(key)

    @property
    def public(self) -> bytes:
        """The public key, raw, 32 octets."""
        return self._public.public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """The signature, 64 octets."""
        return self._key.sign(data)

    def made(self, signature: bytes, data: bytes) -> bool:
        """Whether that signature is one of ours."""
        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def _make(path: Path) -> None:
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        give_to_folders_owner(path.parent)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    make_file_once(path, pem)
