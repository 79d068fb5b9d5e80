"""Init scripts for machines without systemd: sysvinit (LSB) and BusyBox."""

from __future__ import annotations

from lanpost.model.role import Role

_SUMMARIES = {
    Role.SERVE: "lanpost mail server",
    Role.DIRECTORY: "lanpost directory of terminals",
    Role.AGENT: "lanpost agent: tells the mail server where this terminal is",
}

_SCRIPT = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          {name}
# Required-Start:    $network $remote_fs
# Required-Stop:     $network $remote_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: {summary}
### END INIT INFO
# Written by `lanpost install`. `start` returns once it serves, or with status 1 and the last words of its log.

exec {program} service "$1" {role}
"""


def init_script(role: Role, name: str, program: str) -> str:
    """The script /etc/init.d/NAME. `program`: the path of `lanpost`."""
    return _SCRIPT.format(name=name, summary=_SUMMARIES[role], program=program, role=role.value)
