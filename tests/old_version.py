"""An earlier version of lanpost, as it was: its package, for `Program(source=...)` and `AgentProgram(source=...)`.

`tests/releases/` holds the packages; `scripts/freeze-release` makes them. They run with the libraries of today.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

RELEASES = Path(__file__).parent / "releases"
LAST = "0.1.0"


def unpacked(folder: Path, version: str = LAST) -> Path:
    """Where the package of that version lies from now on: `folder` itself."""
    with tarfile.open(RELEASES / f"lanpost-{version}.tar.xz") as frozen:
        for member in frozen:  # plain files, all of them; `extractall` differs from one Python to the next
            content = frozen.extractfile(member)
            assert content, member.name
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
    return folder
