"""`python -m lanpost`."""

from lanpost.cli.main import main

main()
