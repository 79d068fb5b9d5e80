"""The script that starts an installed version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lanpost.content.launcher import launcher


def test_under_another_python_it_says_how_to_mend_that(tmp_path: Path) -> None:
    script = tmp_path / "0.1.0/bin/lanpost"
    script.parent.mkdir(parents=True)
    script.write_text(launcher("0.1.0", sys.executable, (3, 2)))
    done = subprocess.run([sys.executable, "-I", script], capture_output=True, text=True, check=False)
    here = "{}.{}".format(*sys.version_info[:2])
    assert done.returncode == 1
    assert done.stderr.startswith(f"lanpost: installed here for Python 3.2, and this is {here} ({sys.executable})")
    assert done.stderr.endswith(f"run `sudo {sys.executable} {tmp_path}/0.1.0/lanpost.pyz install`\n")
