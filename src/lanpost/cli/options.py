"""Options and output that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from lanpost.app.config import load
from lanpost.app.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


def _load(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Settings:
    from lanpost.app.logs import configure_for_command  # not needed by the agent, which reads its settings itself

    settings = load(value)
    configure_for_command(settings.log)
    return settings


def with_settings(function: Function) -> Function:
    """Gives a command `--config FILE` and, from it, the argument `settings`."""
    return click.option(
        "--config",
        "settings",
        metavar="FILE",
        callback=_load,
        help="Configuration file; else $LANPOST_CONFIG, ./lanpost.toml, /etc/lanpost/lanpost.toml.",
    )(function)


def with_json(function: Function) -> Function:
    """Gives a command `--json` and the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; nothing but the header where there are no rows."""
    table = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
