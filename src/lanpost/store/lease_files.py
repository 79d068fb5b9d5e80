"""The lease files that DHCP clients leave on this machine, where they have been found to. Standard library only.

systemd-networkd is not among them: of the options that matter here it keeps none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from lanpost.content.dhcp_lease import Lease, leases_in

log = logging.getLogger(__name__)

PATTERNS = (
    "/var/lib/dhcp/dhclient*.leases",  # dhclient: Debian
    "/var/lib/dhclient/*.leases",  # others
    "/var/lib/NetworkManager/dhclient-*.lease",
    "/var/lib/dhcpcd/*.lease",
    "/var/db/dhcpcd/*.lease",
    "/run/lanpost-address-hook.*",  # what our hook for udhcpc writes
)
MAX_FILES = 32
MAX_OCTETS = 256 * 1024  # of a file, from its end: the last leases are there


def leases(patterns: Sequence[str] = PATTERNS) -> Iterator[Lease]:
    """Of the files that can be read, the newest file first. Waits for the disk."""
    found = {file for pattern in patterns for file in Path("/").glob(pattern.lstrip("/"))}
    for file in sorted(found, key=_written, reverse=True)[:MAX_FILES]:
        try:
            with file.open("rb") as content:
                content.seek(max(0, file.stat().st_size - MAX_OCTETS))
                data = content.read(MAX_OCTETS)
        except OSError as error:
            log.debug("cannot read %s: %s", file, error.strerror or error)
            continue
        yield from leases_in(data)


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
