"""Logging: one line per event, for people on a terminal, JSON otherwise.

Every line about a mail bears its id as `mail`.
"""

from __future__ import annotations

import json
import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

from lanpost.app.settings import Log

# One encoder for all lines: json.dumps would make a new one for each.
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def _render_json(_logger: object, _method: str, event: EventDict) -> str:
    return _encode(event)


def configure(settings: Log) -> None:
    """Send structlog's and the standard library's records to stderr in one form."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared, render = _processors(settings)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)


def configure_for_command(settings: Log) -> None:
    """For a command whose standard output is its answer: warnings and errors go to stderr (all, at level debug)."""
    shared, render = _processors(settings)
    level = logging.DEBUG if settings.level == "debug" else logging.WARNING
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _processors(settings: Log) -> tuple[list[Processor], Processor]:
    """Those that all lines pass through, and the one that writes them."""
    for_people = settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if for_people else "iso", utc=not for_people),
        structlog.processors.format_exc_info,
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24) if for_people else _render_json
    )
    return shared, render
