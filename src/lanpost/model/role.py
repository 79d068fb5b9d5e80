"""What an installed program does on its machine."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Each is the command of that name, and a service of its own. A machine may have several."""

    SERVE = "serve"
    DIRECTORY = "directory"
    AGENT = "agent"
