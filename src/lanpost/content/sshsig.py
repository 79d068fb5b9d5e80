"""Signatures that `ssh-keygen -Y verify` checks (OpenSSH's PROTOCOL.sshsig), with Ed25519 keys.

Pure: it lays out what is signed and what is written; signing is the key's holder's. The message is given by its
SHA-512, so that a large file is read once and by somebody else.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap

NAMESPACE = "lanpost"  # a signature for one purpose is none for another
_MAGIC = b"SSHSIG"
_VERSION = 1
_HASH = b"sha512"
_KEY_TYPE = b"ssh-ed25519"
_WIDTH = 70  # characters of a line


def to_be_signed(sha512: bytes, namespace: str = NAMESPACE) -> bytes:
    """What the key signs for a message with that SHA-512 (raw, 64 octets)."""
    return _MAGIC + _string(namespace.encode()) + _string(b"") + _string(_HASH) + _string(sha512)


def armored(public: bytes, signature: bytes, namespace: str = NAMESPACE) -> str:
    """The file that `ssh-keygen -Y verify -s` reads; key and signature raw (32 and 64 octets)."""
    blob = (
        _MAGIC
        + _VERSION.to_bytes(4)
        + _string(_key_blob(public))
        + _string(namespace.encode())
        + _string(b"")
        + _string(_HASH)
        + _string(_string(_KEY_TYPE) + _string(signature))
    )
    lines = textwrap.wrap(base64.b64encode(blob).decode("ascii"), _WIDTH)
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def allowed_signer(public: bytes, principal: str, namespace: str = NAMESPACE) -> str:
    """The line of an allowed_signers file (ssh-keygen(1)) that lets this key sign for `namespace` only."""
    return f'{principal} namespaces="{namespace}" {public_key(public)}\n'


def public_key(public: bytes) -> str:
    """The key as OpenSSH writes it, on one line."""
    return f"{_KEY_TYPE.decode()} {base64.b64encode(_key_blob(public)).decode()}"


def fingerprint(public: bytes) -> str:
    """As `ssh-keygen -l` shows it: "SHA256:...", without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(_key_blob(public)).digest()).decode().rstrip("=")


def _key_blob(public: bytes) -> bytes:
    return _string(_KEY_TYPE) + _string(public)


def _string(value: bytes) -> bytes:
    """RFC 4251 §5."""
    return len(value).to_bytes(4) + value
