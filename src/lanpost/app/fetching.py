"""The line by which a terminal fetches `lanpost.pyz` from this server and believes nobody else.

The connection need not be trusted: the line carries the file's digest, and what has another one is thrown away.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lanpost.app.program_offer import ProgramOffer
from lanpost.app.settings import Settings
from lanpost.app.token_urls import registrar_urls
from lanpost.errors import LanpostError
from lanpost.net.program_download import NONE_HERE


@dataclass(frozen=True, slots=True)
class Fetching:
    """What a terminal is told. `line` asks the first of `urls`."""

    urls: tuple[str, ...]
    sha256: str
    signer: str

    @property
    def line(self) -> str:
        """For any shell with curl and sha256sum; what was fetched has its name only once it is proven."""
        return (
            f"curl -fk --retry 9 -o lanpost.new {self.urls[0]} && echo '{self.sha256}  lanpost.new' | sha256sum -c "
            "&& mv lanpost.new lanpost.pyz"
        )


def fetching(settings: Settings) -> Fetching:
    """Raises LanpostError where this program has no file to hand out, ConfigurationError, StoreError."""
    urls = tuple(f"{url.rstrip('/')}/lanpost.pyz" for url in registrar_urls(settings))
    offer = asyncio.run(ProgramOffer(settings.data).offer())
    if offer is None:
        raise LanpostError(NONE_HERE)
    return Fetching(urls, offer.sha256, offer.signers.strip())
