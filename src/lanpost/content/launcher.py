"""The small programs that lead from the system into an installed version."""

from __future__ import annotations

_LAUNCHER = '''\
#!{python} -I
"""lanpost {version}, as `lanpost install` put it here. -I: no environment or home folder changes what is run."""

import os
import sys

FOLDER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if sys.version_info[:2] != {minor}:
    sys.exit(
        "lanpost: installed here for Python {dotted}, and this is %d.%d (%s): run `sudo %s %s/lanpost.pyz install`"
        % (*sys.version_info[:2], sys.executable, sys.executable, FOLDER)
    )
sys.path.insert(0, os.path.join(FOLDER, "lib"))

from lanpost.__main__ import main

if __name__ == "__main__":
    main()
'''


def launcher(version: str, python: str, minor: tuple[int, int]) -> str:
    """`bin/lanpost` of a version: a script for the interpreter `python`, whose version is `minor`, as (3, 11).

    It needs no virtual environment: a bare Debian cannot make one.
    """
    return _LAUNCHER.format(version=version, python=python, minor=minor, dotted=".".join(map(str, minor)))
