"""`lanpost man-page`: lanpost(1), from the help of every command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from lanpost import __version__

_HEAD = """\
.TH LANPOST 1 "" "lanpost {version}" "User Commands"
.SH NAME
lanpost \\- mail on a LAN without DNS
.SH SYNOPSIS
.B lanpost
.I COMMAND
.RI [ OPTION ]...
.SH DESCRIPTION
Terminals say where they are each time they are given a network address; the mail server looks that up and delivers
straight to them by SMTP.
.SH COMMANDS
"""
_SHARED = ("--json", "--config FILE")  # told of once
_FOOT = """\
.SH OPTIONS
Most commands know these:
.TP
.B \\-\\-config FILE
Configuration file; else $LANPOST_CONFIG, ./lanpost.toml, /etc/lanpost/lanpost.toml.
.TP
.B \\-\\-json
Print JSON, for programs.
.TP
.B \\-\\-help
Show what a command does and takes.
.SH EXIT STATUS
.TP
0
Done.
.TP
1
Failed; one line on standard error says what, and what to do.
.TP
2
Wrong usage.
.SH ENVIRONMENT
.TP
LANPOST_CONFIG
The configuration file, where no option names one.
.SH FILES
.TP
/etc/lanpost/lanpost.toml
The configuration.
.TP
/var/lib/lanpost
Spool, mailboxes, keys, the chart.
.TP
/opt/lanpost
The installed versions.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1)
"""


@click.command("man-page")
@click.pass_context
def man_page(context: click.Context) -> None:
    """Print the manual page lanpost(1); `lanpost install` puts it where man looks."""
    root = context.find_root()
    click.echo(
        _HEAD.format(version=_text(__version__)) + "".join(_sections(root.command, None, "lanpost")) + _FOOT,
        nl=False,
    )


def _sections(command: click.Command, parent: click.Context | None, name: str) -> Iterator[str]:
    context = click.Context(command, parent=parent, info_name=name.rpartition(" ")[2])
    if parent is not None:
        yield _section(name, context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = _found(command, context, child)
            if found is None:
                yield f".SS {_text(f'{name} {child}')}\nNeeds libraries that are not here.\n"
            elif not found.hidden:
                yield from _sections(found, context, f"{name} {child}")


def _found(group: click.Group, context: click.Context, name: str) -> click.Command | None:
    """None where a library is missing that the command needs, as a server's on a small terminal."""
    try:
        return group.get_command(context, name)
    except ImportError:
        return None


def _section(name: str, context: click.Context) -> str:
    pieces = " ".join(piece for piece in context.command.collect_usage_pieces(context) if piece != "[OPTIONS]")
    lines = [f".SS {_text(f'{name} {pieces}'.strip())}"]
    for number, paragraph in enumerate((context.command.help or "").split("\n\n")):
        lines += [".PP"] * bool(number) + [_text(" ".join(paragraph.split()))]
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or isinstance(parameter, click.Argument) or "--help" in record[0]:
            continue
        if record[0] not in _SHARED:
            lines += [".TP", f".B {_text(record[0])}", _text(record[1])]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """As roff takes it: nothing in it is a command. Backquotes set what is typed in bold."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", escaped)
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped
