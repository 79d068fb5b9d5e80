"""What an installation has outside /opt/lanpost: the command, its completion and its manual page.

All of them are links into the version in force, so that they change with it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

from lanpost.store.installation import Installation, point

_CURRENT = "/opt/lanpost/current"
_SHARE = "/usr/local/share"
# The place of each text, below share/ of a version; the link that leads there; the command that prints it.
_TEXTS = (
    ("bash-completion/lanpost", f"{_SHARE}/bash-completion/completions/lanpost", ("completion", "bash")),
    ("fish/lanpost.fish", f"{_SHARE}/fish/vendor_completions.d/lanpost.fish", ("completion", "fish")),
    ("zsh/_lanpost", f"{_SHARE}/zsh/site-functions/_lanpost", ("completion", "zsh")),
    ("man/lanpost.1.gz", f"{_SHARE}/man/man1/lanpost.1.gz", ("man-page",)),
)


def write_texts(version: Path, said: Callable[..., str]) -> None:
    """Completion and manual page into the folder of a version; `said` runs a command of it."""
    for name, _, words in _TEXTS:
        file = version / "share" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = said(*words).encode()
        file.write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)


def link_all(installation: Installation) -> None:
    """The command, and what belongs to it. Links and files that were in these places are replaced by ours."""
    links = {str(installation.command): f"{_CURRENT}/bin/lanpost"}
    links |= {str(installation.place(link)): f"{_CURRENT}/share/{name}" for name, link, _ in _TEXTS}
    for link, target in links.items():
        Path(link).parent.mkdir(0o755, parents=True, exist_ok=True)
        point(Path(link), target)


def unlink_all(installation: Installation) -> None:
    """Those that are ours are gone."""
    for link in (installation.command, *(installation.place(link) for _, link, _ in _TEXTS)):
        if link.is_symlink() and str(link.readlink()).startswith(f"{_CURRENT}/"):
            link.unlink()
