"""The key by which a terminal that takes mail itself is known: a certificate that it made and signed itself.

`<data>/agent/tls.pem`, key and certificate in one file. Whoever sends mail compares the certificate with the one
that the terminal registered; no name, date or authority in it matters. Raises StoreError.
"""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lanpost.errors import StoreError
from lanpost.model.proof import Proof, ProofKind
from lanpost.store.files import replace_file, store_error

FILE_NAME = "tls.pem"
# A small device may have no clock: RFC 5280 §4.1.2.5 has this for "no well-defined expiration date".
_BEGINNING, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class TerminalKey:
    """What the terminal's receiver shows, and what it is known by."""

    def __init__(self, context: ssl.SSLContext, proof: Proof) -> None:
        self.context = context
        self.proof = proof

    @staticmethod
    def open(folder: Path) -> TerminalKey:
        """The key in `folder`, made if there is none."""
        path = folder / FILE_NAME
        try:
            if not path.exists():
                _make(path)
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
        except (ssl.SSLError, ValueError):
            raise StoreError(f"{path}: cannot be used; remove it to have a new one made") from None
        except OSError as error:
            raise store_error(error, str(path)) from None
        digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
        return TerminalKey(context, Proof(ProofKind.TLS, digest))


def _make(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lanpost terminal")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINNING)
        .not_valid_after(_END)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    replace_file(path, pem + certificate.public_bytes(serialization.Encoding.PEM))
