"""Mail on a LAN without DNS: terminals say where they are, mail goes straight there by SMTP."""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    """The version, looked up when it is asked for: that takes longer than a DHCP server's whole hook."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lanpost")
    except PackageNotFoundError:  # run from a plain folder or a zip
        return "0.1.0"
