"""The agent's log on small devices: the standard library's, in the forms that `logs.py` has on servers."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from lanpost.app.settings import Log


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def configure(settings: Log) -> None:
    """Send the records to stderr: one line each, for people on a terminal, JSON otherwise."""
    for_people = settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d [%(levelname)-7s] %(message)s", "%H:%M:%S")
        if for_people
        else _JsonLines()
    )
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
