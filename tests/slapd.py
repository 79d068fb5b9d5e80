"""OpenLDAP as a process of a test, configured by deploy/openldap as it is.

    with Slapd() as directory: directory.add_terminal("fax1", "secret"); directory.search("(cn=fax1)")

Making one skips the test where OpenLDAP is not installed. Listens at 127.0.0.1, unless told otherwise, at a free
port, and at a Unix socket. `tls=True`: with a certificate of a CA of its own (`ca_file`), from which `certificate`
issues those of clients.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from bench.processes import program
from bench.slapd_instance import ENVIRONMENT, ROOT, SlapdInstance
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lanpost.store.authority import Authority, Names

PATIENCE = 30.0  # seconds that one of OpenLDAP's tools may take
Attributes = dict[str, list[str]]


class Slapd(SlapdInstance):
    """SlapdInstance in a temporary folder of its own, with the tools to look into it."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        dds: bool = True,
        syncprov: bool = True,
        tls: bool = False,
        expiry_seconds: int = 60,
        changes: str = "",
    ) -> None:
        if reason := self.lacks():
            pytest.skip(reason)
        # pytest's own folders have names too long for a Unix socket.
        folder = Path(tempfile.mkdtemp(prefix="lanpost-slapd-"))
        self._tls = folder / "tls"
        if tls:
            now = datetime.now(UTC)
            authority = Authority.open(self._tls, now)
            authority.renew(Names(hosts=[host]), now)
            shutil.copy(self._tls / "server.pem", self._tls / "slapd.pem")
        super().__init__(
            folder,
            host,
            port,
            dds=dds,
            syncprov=syncprov,
            tls=self._tls if tls else None,
            expiry_seconds=expiry_seconds,
            changes=changes,
        )

    @property
    def ca_file(self) -> Path:
        return self._tls / "ca.pem"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def dn(self, name: str) -> str:
        """Of a terminal's entry."""
        return f"cn={name},{self.base}"

    def add_terminal(self, name: str, secret: str, extra: str = "") -> str:
        """A terminal that is known and nowhere yet, and logs in with `secret`. `extra`: more lines of LDIF."""
        digest = base64.b64encode(hashlib.sha256(secret.encode()).digest()).decode("ascii")
        address = f"{name}@office.lan"
        self.add(
            f"dn: {self.dn(name)}\nobjectClass: top\nobjectClass: device\nobjectClass: inetLocalMailRecipient\n"
            f"objectClass: lanpostTerminal\nobjectClass: simpleSecurityObject\ncn: {name}\nmail: {address}\n"
            f"mailLocalAddress: {address}\nlanpostKey: {address}\nlanpostAddress: {address}\n"
            f"userPassword: {{SHA256}}{digest}\n{extra}"
        )
        return self.dn(name)

    def add(self, ldif: str) -> None:
        """As the mail server's account."""
        self.must("ldapadd", stdin=ldif)

    def modify(self, ldif: str) -> None:
        """As the mail server's account."""
        self.must("ldapmodify", stdin=ldif)

    def search(
        self, search_filter: str = "(objectClass=*)", *attributes: str, base: str = "", scope: str = "sub"
    ) -> dict[str, Attributes]:
        """The entries found, by DN, as the mail server's account sees them."""
        arguments = ("-LLL", "-o", "ldif-wrap=no", "-b", base or self.base, "-s", scope)
        return read_ldif(self.must("ldapsearch", *arguments, search_filter, *attributes))

    def must(self, name: str, *arguments: str, stdin: str = "") -> str:
        """What the tool prints; the test fails where it fails."""
        done = self.tool(name, *arguments, stdin=stdin)
        assert done.returncode == 0, f"{name}: {done.stdout}"
        return done.stdout

    def tool(
        self,
        name: str,
        *arguments: str,
        stdin: str = "",
        bind: tuple[str, str] | None = ("", ""),
        url: str = "",
        certificate: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run one of OpenLDAP's tools; its exit status is LDAP's result code.

        `bind`: DN and password; ("", ""): the mail server's; None: nobody's. `certificate`: SASL EXTERNAL with it.
        """
        environment = dict(ENVIRONMENT)
        if self.ca_file.exists():
            environment |= {"LDAPTLS_CACERT": str(self.ca_file), "LDAPTLS_REQCERT": "demand"}
        if certificate:
            environment |= {"LDAPTLS_CERT": str(certificate), "LDAPTLS_KEY": str(certificate)}
            who: tuple[str, ...] = ROOT
        elif bind is None:
            who = ("-x",)
        else:
            dn, password = bind if bind[0] else (self.bind_dn, self.password)
            who = ("-x", "-D", dn, "-w", password)
        return self._run(name, (*who, "-H", url or self.url, *arguments), stdin, environment)

    def as_root(self, name: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The same over the Unix socket, as whoever runs the test: root may do everything."""
        return self._run(name, (*ROOT, "-H", self.ldapi_url, *arguments), stdin, ENVIRONMENT)

    def certificate(self, name: str, unit: str = "") -> Path:
        """A PEM file with certificate and key to log in with, for the common name and organizational unit given."""
        key = ec.generate_private_key(ec.SECP256R1())
        ca = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        ca_key = serialization.load_pem_private_key((self._tls / "ca.key").read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        names = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(names))
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self._tls / f"{unit}{name}.pem"
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        return file

    @staticmethod
    def _run(
        name: str, arguments: tuple[str, ...], stdin: str, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program(name) or name, *arguments],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            env=environment,
            check=False,
        )


def read_ldif(text: str) -> dict[str, Attributes]:
    """Entries by DN, of LDIF whose lines are not folded (RFC 2849)."""
    found: dict[str, Attributes] = {}
    attributes: Attributes = {}
    for line in text.splitlines():
        name, mark, value = line.partition(":")
        if not mark or name.startswith("#"):
            continue
        value = base64.b64decode(value[1:]).decode() if value.startswith(":") else value.strip()
        if name == "dn":
            attributes = found[value] = {}
        else:
            attributes.setdefault(name, []).append(value)
    return found
