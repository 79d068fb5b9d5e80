"""Reads `lanpost.toml` once into frozen Settings. Standard library only.

Raises ConfigurationError, whose text names the file, the key, the value and the remedy.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError

DEFAULT_FILES = ("lanpost.toml", "/etc/lanpost/lanpost.toml")


def find_file(given: str | None) -> Path | None:
    """The configuration file in force: given, $LANPOST_CONFIG, ./lanpost.toml, /etc/lanpost/lanpost.toml."""
    named = given or os.environ.get("LANPOST_CONFIG")
    if named:
        if not Path(named).is_file():
            raise ConfigurationError(
                f"{named}: no such configuration file; create it or name another with --config"
            )
        return Path(named)
    return next((Path(name) for name in DEFAULT_FILES if Path(name).is_file()), None)


def load(given: str | None = None) -> Settings:
    """The settings of the file in force, or all defaults where there is none."""
    file = find_file(given)
    if file is None:
        return Settings()
    try:
        source = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}") from None
    return parse(source, file)


def parse(source: str, file: Path) -> Settings:
    """Settings from the text of a file. Relative paths start at the file's folder."""
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: not valid TOML: {error}") from None
    folder = file.resolve().parent
    settings: Settings = _table(Settings, document, file, "")
    return replace(settings, data=folder / settings.data, file=file.resolve())


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """The keys, as the file has them, in which two settings differ."""
    changed = []
    for item in fields(Settings):
        before, after = getattr(old, item.name), getattr(new, item.name)
        if is_dataclass(before):
            changed += [
                f"{item.name}.{inner.name}"
                for inner in fields(before)
                if getattr(before, inner.name) != getattr(after, inner.name)
            ]
        elif item.metadata and before != after:
            changed.append(item.name)
    return changed


def taken_over(old: Settings, new: Settings, keys: Collection[str]) -> tuple[Settings, list[str]]:
    """The old settings with the new values of `keys`, tables and keys; and what else has changed."""
    taken = old
    for key in keys:
        table, _, name = key.partition(".")
        value = getattr(new, table)
        if name:
            value = replace(getattr(taken, table), **{name: getattr(value, name)})
        taken = replace(taken, **{table: value})
    return taken, [key for key in changed_keys(old, new) if key not in keys and key.partition(".")[0] not in keys]


def _table(kind: type[Any], document: dict[str, Any], file: Path, prefix: str) -> Any:
    types = get_type_hints(kind)
    known = {item.name: item for item in fields(kind) if "read" in item.metadata or is_dataclass(types[item.name])}
    values: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(known)}"
            raise ConfigurationError(f"{file}: {name}: no such setting; {hint}")
        if is_dataclass(types[key]):
            if not isinstance(value, dict):
                raise ConfigurationError(
                    f"{file}: {name} = {value!r}: this is a table; write [{name}] and its keys"
                )
            values[key] = _table(types[key], value, file, f"{name}.")
            continue
        try:
            values[key] = known[key].metadata["read"](value)
        except ValueError as error:
            raise ConfigurationError(f"{file}: {name} = {value!r}: {error}") from None
    return kind(**values)
