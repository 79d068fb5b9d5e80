"""Builds what is handed out: `make dist`. Runs on a developer's machine only, and is in no release itself."""
