"""Without the optional libraries the fax machine says what to install; it loads none of them itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lanpost
from lanpost.app import fax_extra
from lanpost.errors import ConfigurationError


def test_what_is_missing_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fax_extra, "LIBRARIES", ("json", "no_such_library"))
    with pytest.raises(ConfigurationError, match=r'\(no_such_library\): run `pip install "lanpost\[fax\]"`'):
        fax_extra.require_fax_extra()


def test_the_receiving_fax_machine_loads_none_of_them() -> None:
    """They are for the process that looks at a fax: whatever they do, they do it there."""
    code = "import sys, lanpost.cli.fax_receive; print({'PIL', 'numpy', 'pikepdf', 'pypdfium2'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(Path(lanpost.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
