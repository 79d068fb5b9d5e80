"""The server's own small certificate authority, and the certificate that it serves TLS with.

Made at the first start in `data/tls`: `ca.pem` and `ca.key` for 20 years, `server.pem` (key and certificate in one
file, so that they change together) for one. Several processes may open it at once. Terminals trust the CA by its
pin, and the certificate by the fixed name REGISTRAR_NAME in it, whatever addresses the server has.

Raises StoreError where the files cannot be used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import os
import re
import ssl
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lanpost.errors import InvalidAddress, StoreError
from lanpost.model.account import CERTIFIED_ACCOUNTS
from lanpost.model.token import REGISTRAR_NAME
from lanpost.store.files import give_to_folders_owner, replace_file, store_error

CA_LIFETIME = timedelta(days=20 * 365)
SERVER_LIFETIME = timedelta(days=365)
BACKDATED = timedelta(days=1)  # a terminal's clock may be a little behind ours
MAX_NAMES = 64  # of one certificate; a host with more addresses is served under the first of them

MAX_COMMON_NAME = 64  # characters (RFC 5280, appendix A: ub-common-name)

_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_Name = x509.DNSName | x509.IPAddress


@dataclass(frozen=True, slots=True)
class Names:
    """What people and mail clients call this server by, besides REGISTRAR_NAME."""

    hostname: str = ""
    hosts: Collection[str] = field(default=())  # IP literals


class Authority:
    """The CA of one data folder. `open` makes it where there is none."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._folder = folder
        self._certificate = certificate
        self._key = key
        self._context = _server_context()
        self._contexts = [self._context]
        self._loaded = b""  # what the contexts were loaded from

    @staticmethod
    def open(folder: Path, now: datetime) -> Authority:
        """The CA in `folder`. Of two processes that start at once, one makes it and both use that."""
        try:
            if not folder.exists():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                give_to_folders_owner(folder)
            with _locked(folder):
                # The certificate is written last: without one nobody has ever seen the pin of a left-over key.
                if not (folder / "ca.pem").exists():
                    _make_ca(folder, now)
                certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
                key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except OSError as error:
            raise store_error(error, str(error.filename or folder)) from None
        except ValueError as error:
            raise _damaged(folder, str(error)) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise _damaged(folder, "ca.key is not the key of ca.pem")
        return Authority(folder, certificate, key)

    @property
    def ca_file(self) -> Path:
        return self._folder / "ca.pem"

    @property
    def ca_pem(self) -> bytes:
        """The CA certificate, for whoever shall trust this server."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def pin(self) -> str:
        """SHA-256 of the CA certificate (DER), 64 lower-case hex digits."""
        return hashlib.sha256(self._certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    @property
    def valid(self) -> tuple[datetime, datetime]:
        """From when until when the CA certificate is good."""
        return self._certificate.not_valid_before_utc, self._certificate.not_valid_after_utc

    def server_valid(self) -> tuple[datetime, datetime] | None:
        """From when until when the server's certificate is good; None: there is none yet."""
        try:
            certificate = x509.load_pem_x509_certificate((self._folder / "server.pem").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(self._folder, str(error)) from None
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc

    def ssl_context(self, names: Names, now: datetime) -> ssl.SSLContext:
        """The context to serve TLS with: the same one each time, with a certificate good for `names` at `now`."""
        if self.renew(names, now):
            self.load()
        return self._context

    def asking_context(self, client_ca_file: Path | None = None) -> ssl.SSLContext:
        """Another context, with the same certificate, that asks clients for one of this CA, or of that file's.

        They need not show one. After `ssl_context`; later renewals reach it too.
        """
        trusted = client_ca_file or self.ca_file
        context = _server_context()
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(trusted)
            context.load_cert_chain(self._folder / "server.pem")
        except OSError as error:  # ssl.SSLError too
            raise store_error(error, str(trusted)) from None
        self._contexts.append(context)
        return context

    def issue_client(self, address: str, now: datetime, entry: str = "") -> bytes:
        """A key and a certificate by which a terminal proves that it is this address, PEM, good for a year.

        `entry`: the `cn` of its entry, where that is another: OpenLDAP knows by it who comes. InvalidAddress: no
        certificate can bear it.
        """
        name = entry or address
        if len(name) > MAX_COMMON_NAME and not address.isascii():
            raise InvalidAddress(f"{name} is too long for a certificate; there {MAX_COMMON_NAME} characters fit")
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.RFC822Name(address)] if address.isascii() else []
        certificate = self._signed(name[:MAX_COMMON_NAME], key, now, ExtendedKeyUsageOID.CLIENT_AUTH, names)
        return _key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)

    def issue_account(self, name: str, now: datetime) -> bytes:
        """The same for an account of a directory that is no terminal, as a mail server's in OpenLDAP."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(name, key, now, ExtendedKeyUsageOID.CLIENT_AUTH, [], unit=CERTIFIED_ACCOUNTS)
        return _key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)

    def issue_server(self, hosts: Collection[str], now: datetime) -> bytes:
        """A key and a certificate for a directory server at these IP literals, PEM, good for a year.

        It does not bear REGISTRAR_NAME: who has it can play that directory, not a registrar.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.IPAddress(ipaddress.ip_address(host)) for host in dict.fromkeys(hosts)]
        certificate = self._signed("directory server", key, now, ExtendedKeyUsageOID.SERVER_AUTH, names)
        return _key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)

    def renew(self, names: Names, now: datetime) -> bool:
        """Make a new server certificate where one is due. True: there is one to `load`, made here or elsewhere.

        Due: less than a third of its life is left, a name or address of `names` is missing, or the CA is another.
        Waits for the disk; does not touch the context, so that it may run in a thread.
        """
        path = self._folder / "server.pem"
        try:
            with _locked(self._folder):
                content = path.read_bytes() if path.exists() else b""
                if not self._is_good(content, names, now):
                    content = self._issue(names, now)
                    _write(path, content)
        except OSError as error:
            raise store_error(error, str(path)) from None
        return content != self._loaded

    def load(self) -> None:
        """Have handshakes from now on use the newest certificate. On the loop that shakes hands, in no thread."""
        path = self._folder / "server.pem"
        try:
            content = path.read_bytes()
            for context in self._contexts:
                context.load_cert_chain(path)
        except OSError as error:
            raise store_error(error, str(path)) from None
        self._loaded = content

    def _is_good(self, content: bytes, names: Names, now: datetime) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(content)
            key = serialization.load_pem_private_key(content, None)
            certificate.verify_directly_issued_by(self._certificate)
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except Exception:
            return False  # whatever is wrong with it, a new one is the cure
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        is_timely = begin <= now and end - now >= (end - begin) / 3
        return (
            key.public_key() == certificate.public_key() and is_timely and set(_alternatives(names)) <= set(found)
        )

    def _issue(self, names: Names, now: datetime) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(
            "lanpost server", key, now, ExtendedKeyUsageOID.SERVER_AUTH, _alternatives(names)
        )
        return _key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        now: datetime,
        usage: x509.ObjectIdentifier,
        alternatives: Sequence[x509.GeneralName],
        unit: str = "",
    ) -> x509.Certificate:
        end = min(now + SERVER_LIFETIME, self._certificate.not_valid_after_utc)
        if end - now < SERVER_LIFETIME / 2:
            raise StoreError(
                f"{self.ca_file} is good until {end:%Y-%m-%d} only: move {self._folder} away, start again, and "
                "give every terminal a new token (`lanpost terminal rotate`)"
            )
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            _builder(_subject(name, unit), self._certificate.subject, key.public_key(), now - BACKDATED, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _make_ca(folder: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two servers' CAs must not bear one name: a client that trusts both would try the wrong key.
    subject = _subject(f"lanpost CA {os.urandom(4).hex()}")
    certificate = (
        _builder(subject, subject, key.public_key(), now - BACKDATED, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "ca.key", _key_pem(key))
    _write(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    replace_file(path, content, mode)


def _subject(name: str, unit: str = "") -> x509.Name:
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    return x509.Name([*units, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Names) -> list[_Name]:
    """The subject's alternative names, REGISTRAR_NAME first."""
    found: dict[_Name, None] = {x509.DNSName(REGISTRAR_NAME): None}
    if _DNS_NAME.match(names.hostname.lower()):
        found[x509.DNSName(names.hostname.lower())] = None
    for host in sorted(names.hosts):
        found[x509.IPAddress(ipaddress.ip_address(host.partition("%")[0]))] = None
    return list(found)[:MAX_NAMES]


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _damaged(folder: Path, what: str) -> StoreError:
    return StoreError(
        f"{folder}: the certificate authority cannot be used ({what}): restore that folder from a backup, or "
        "move it away, start again, and give every terminal a new token (`lanpost terminal rotate`)"
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that held it."""
    path = folder / ".lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        give_to_folders_owner(path, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
