"""The certificate by which we log in to a directory (`chart.certificate_file`): read, or what is wrong with it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import structlog

from lanpost.app.secret_files import beside_configuration, read_beside
from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError

KEY = "chart.certificate_file"
SOON = timedelta(days=30)  # before its end: told at each start

log = structlog.get_logger()


def load_client_certificate(settings: Settings, *contexts: ssl.SSLContext) -> None:
    """Have handshakes with these contexts show it. Raises ConfigurationError, which says what the file lacks."""
    from cryptography import x509  # what asks a directory without a certificate runs without it

    name = settings.chart.certificate_file
    text = read_beside(settings, KEY, name)
    path = beside_configuration(settings, name)
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise _unusable(name, "there is no certificate in it")
    if "PRIVATE KEY-----" not in text:
        raise _unusable(name, "there is no private key in it")
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
        for context in contexts:
            # OpenSSL would ask whoever sits at the terminal for the pass phrase of a key that has one.
            context.load_cert_chain(path, password="")
    except (OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise _unusable(name, "its key is not the certificate's") from None
        if "ENCRYPTED" in text:
            raise _unusable(name, "its key is locked by a pass phrase; take that away (`openssl pkey`)") from None
        raise _unusable(name, f"it cannot be read ({getattr(error, 'reason', None) or error})") from None
    end = certificate.not_valid_after_utc
    if end < datetime.now(UTC) + SOON:
        log.warning("client certificate expires", file=str(path), until=f"{end:%Y-%m-%d}", remedy="issue another")


def _unusable(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(f'{KEY} = "{name}": {why}; write key and certificate into that file, both as PEM')
