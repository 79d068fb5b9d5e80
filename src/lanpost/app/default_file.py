"""The `lanpost.toml` that an installation begins with: every setting with its default, commented out."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass

from lanpost.app.settings import Settings

_HEAD = """\
# The configuration of lanpost. Everything is optional: what stands behind a # here is the default.
# `lanpost check` reads this file and says what is wrong with it; `systemctl reload lanpost` has it read again.
# Each setting is told of in docs/configuration.md.

# What a bare terminal name is completed with: fax1 is fax1@DOMAIN.
domain = {domain}
"""


def default_file(domain: str) -> str:
    """The file's text. `domain` is the one thing that a site has to choose."""
    lines = [_HEAD.format(domain=json.dumps(domain))]
    defaults = Settings()
    lines += [
        f"# {item.name} = {_toml(item.metadata['written'])}"
        for item in fields(Settings)
        if "written" in item.metadata and item.name != "domain"
    ]
    for item in fields(Settings):
        table = getattr(defaults, item.name)
        if is_dataclass(table):
            lines.append(f"\n[{item.name}]")
            lines += [f"# {inner.name} = {_toml(inner.metadata['written'])}" for inner in fields(table)]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """TOML writes these as JSON does."""
    return json.dumps(value, ensure_ascii=False)
