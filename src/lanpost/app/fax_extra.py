"""Whether the optional libraries for fax are there."""

from __future__ import annotations

from importlib.util import find_spec

from lanpost.errors import ConfigurationError

LIBRARIES = ("PIL", "numpy", "pikepdf", "pypdfium2")


def require_fax_extra() -> None:
    """Raises ConfigurationError with the remedy where one of them is missing. Loads none."""
    if lack := missing_libraries():
        raise ConfigurationError(lack)


def missing_libraries() -> str:
    """What is missing, and the remedy; "" where nothing is."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if not missing:
        return ""
    return f'fax needs libraries that are not installed ({", ".join(missing)}): run `pip install "lanpost[fax]"`'
