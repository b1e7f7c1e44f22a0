"""The log: one JSON object a line, on standard error, with no audio and no text in it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

LOG: Final = logging.getLogger("airgap.serve")


class JsonLines(logging.Formatter):
    """Time, level, event and the fields that came with it. ASCII: no name moves a cursor."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start() -> None:
    """Send the log of this server, and of the libraries beneath it, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOG.setLevel(logging.INFO)
    logging.captureWarnings(True)


def say(event: str, message: str, **fields: Any) -> None:
    """Something happened as it should."""
    LOG.info(message, extra={"event": event, "fields": fields})


def warn(event: str, message: str, **fields: Any) -> None:
    """Something that a person should look at."""
    LOG.warning(message, extra={"event": event, "fields": fields})
