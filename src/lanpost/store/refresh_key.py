"""The key that signs refresh requests: `refresh.key` in the data folder's `tls`, made when it is first needed.

Its public half goes into enrolment tokens and into the answers to registrations. Raises StoreError.
"""

from __future__ import annotations

from pathlib import Path

from lanpost.store.signing_key import SigningKey

FILE_NAME = "refresh.key"


class RefreshKey(SigningKey):
    """The server's, for refresh requests only."""

    @staticmethod
    def open(folder: Path) -> RefreshKey:
        """The key in `folder`, made if need be. Of two processes that start at once, both get the same."""
        return RefreshKey.at(folder / FILE_NAME, "terminals learn when they register")
