"""The layout of OpenSSH's signatures, held against ssh-keygen and against one that was made by it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lanpost.content.sshsig import allowed_signer, armored, fingerprint, public_key, to_be_signed

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
MESSAGE = b"what is signed"


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def signed(key: Ed25519PrivateKey, namespace: str = "lanpost") -> str:
    digest = hashlib.sha512(MESSAGE).digest()
    return armored(key.public_key().public_bytes_raw(), key.sign(to_be_signed(digest, namespace)), namespace)


def check(folder: Path, signature: str, signers: str, message: bytes = MESSAGE, namespace: str = "lanpost") -> bool:
    (folder / "sig").write_text(signature)
    (folder / "signers").write_text(signers)
    words = ["-Y", "verify", "-f", "signers", "-I", "lanpost", "-n", namespace, "-s", "sig"]
    done = subprocess.run(["ssh-keygen", *words], cwd=folder, input=message, capture_output=True, check=False)
    return done.returncode == 0


def test_ssh_keygen_takes_it_for_this_message_key_and_namespace_only(
    key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    signers = allowed_signer(key.public_key().public_bytes_raw(), "lanpost")
    other = allowed_signer(Ed25519PrivateKey.generate().public_key().public_bytes_raw(), "lanpost")
    assert check(tmp_path, signed(key), signers)
    assert not check(tmp_path, signed(key), signers, message=MESSAGE + b"!")
    assert not check(tmp_path, signed(key), other)
    assert not check(tmp_path, signed(key, "file"), signers, namespace="file")


def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(key: Ed25519PrivateKey, tmp_path: Path) -> None:
    public = key.public_key().public_bytes_raw()
    (tmp_path / "key.pub").write_text(public_key(public) + "\n")
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[1] == fingerprint(public)
