"""The small programs that lead from the system into an installed version."""

from __future__ import annotations

_LAUNCHER = '''\
#!{python} -I
"""lanpost {version}, put together for this machine. -I: no environment or home folder changes what is run."""

import os
import sys

FOLDER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if sys.version_info[:2] != {minor}:
    sys.exit(
        "lanpost: installed here for Python {dotted}, and this is %d.%d (%s): run `sudo %s`"
        % (*sys.version_info[:2], sys.executable, {again})
    )
sys.path.insert(0, os.path.join(FOLDER, "lib"))

from lanpost.__main__ import main

if __name__ == "__main__":
    main()
'''


_INSTALL_AGAIN = 'f"{sys.executable} {FOLDER}/lanpost.pyz install"'  # evaluated there


def launcher(version: str, python: str, minor: tuple[int, int], again: str = "") -> str:
    """`bin/lanpost` of a version: a script for the interpreter `python`, whose version is `minor`, as (3, 11).

    It needs no virtual environment: a bare Debian cannot make one. `again`: the command, for root, that puts it
    together for another Python; else the `install` of the file beside it.
    """
    dotted = ".".join(map(str, minor))
    words = repr(again) if again else _INSTALL_AGAIN
    return _LAUNCHER.format(version=version, python=python, minor=minor, dotted=dotted, again=words)
