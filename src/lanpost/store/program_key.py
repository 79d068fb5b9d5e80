"""The key by which a server signs the `lanpost.pyz` that it hands out: `program.key` in the data folder's `tls`.

It says that this server handed the file out, no more: who built it signs with a key of his own. Raises StoreError.
"""

from __future__ import annotations

from pathlib import Path

from lanpost.store.signing_key import SigningKey

FILE_NAME = "program.key"


class ProgramKey(SigningKey):
    """The server's, for the program it hands out only."""

    @staticmethod
    def open(folder: Path) -> ProgramKey:
        """The key in `folder`, made if need be. Of two processes that start at once, both get the same."""
        return ProgramKey.at(folder / FILE_NAME, "whoever checks signatures has to be given")
