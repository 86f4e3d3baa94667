"""Logging set-up, secret redaction and progress bars. Human text goes to stderr; stdout is for data."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime

_SECRETS = re.compile(
    r"(MLY\|[0-9]+\|[0-9a-fA-F]+"  # Mapillary tokens
    r"|MLY%7C[0-9]+%7C[0-9a-fA-F]+"
    r"|(?<=access_token=)[^&\s\"']+"
    r"|(?<=OAuth )\S+"
    r"|(?<=://)[^/@\s:]+:[^/@\s]+(?=@))"  # user:password in database URLs
)


def redact(text: str) -> str:
    """Replace tokens and database passwords by ***."""
    clean = _SECRETS.sub("***", text)
    token = os.environ.get("MAPILLARY_TOKEN", "")
    return clean.replace(token, "***") if len(token) >= 8 else clean


class RedactingFilter(logging.Filter):
    """Cleans every record before any handler sees it, exception texts included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always keeps the record, without its secrets."""
        record.msg = redact(record.getMessage())
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per line; `run_id` and `image_id` are taken from the record's extras when present."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record as one line of JSON with a UTC time stamp."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key in ("run_id", "image_id"):
            if hasattr(record, key):
                entry[key] = getattr(record, key)
        if record.exc_text:
            entry["exception"] = record.exc_text
        return json.dumps(entry, ensure_ascii=False)


def set_up_logging(level: str = "WARNING", *, json_lines: bool = False) -> None:
    """Send the package's log to stderr, redacted, as text or as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(JsonFormatter() if json_lines else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("geocorrect")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
