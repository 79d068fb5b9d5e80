"""Mail on a LAN without DNS: terminals say where they are, mail goes straight there by SMTP."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lanpost")
except PackageNotFoundError:  # run from a plain folder or a zip
    __version__ = "0.1.0"
