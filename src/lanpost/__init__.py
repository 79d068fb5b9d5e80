"""Mail on a LAN without DNS: terminals say where they are, mail goes straight there by SMTP."""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, when it is asked for: finding it out takes longer than a DHCP server's whole hook."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lanpost")
    except PackageNotFoundError:  # run from a plain folder or a zip
        return "0.1.0"
