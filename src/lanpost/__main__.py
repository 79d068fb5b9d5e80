"""`lanpost`, and `python -m lanpost`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run a command; a DHCP server's hook by a way that loads nothing else, since it is started for each lease."""
    from lanpost.app.lease_hook import is_hook

    if is_hook(sys.argv[1:]):
        from lanpost.app.lease_hook import main as run_hook

        sys.exit(run_hook(sys.argv[2:]))
    from lanpost.cli.main import main as run_command

    run_command()


if __name__ == "__main__":
    main()
