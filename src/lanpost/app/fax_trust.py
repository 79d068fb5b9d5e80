"""Who vouches for the servers and printers that a fax machine speaks to by TLS."""

from __future__ import annotations

import ssl

from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError


def trust_of(settings: Settings) -> ssl.SSLContext | None:
    """The authorities of `fax.ca_file`; None: it names none. Raises ConfigurationError."""
    name = settings.fax.ca_file
    if not name:
        return None
    file = settings.data / name
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:  # ssl.SSLError is such
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f'fax.ca_file = "{name}": {file} cannot be used: {reason}; `lanpost ca export` prints our own authority'
        ) from None
