"""Mail on a LAN without DNS: terminals say where they are, mail goes straight there by SMTP."""

from __future__ import annotations

# Written here too, not only in pyproject.toml: asking importlib.metadata takes longer than a DHCP server's whole
# hook, loads a dozen modules onto a small device, and has no answer where we run from a plain folder or a zip.
__version__ = "0.1.0"
