"""Secrets never reach a log."""

from __future__ import annotations

import io
import json
import logging

import pytest

from geocorrect.log import JsonFormatter, RedactingFilter, redact

TOKEN = "MLY|1234567890|0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://tiles.example/14/1/2?access_token={TOKEN}",
        "access_token=MLY%7C1234567890%7C0123456789abcdef0123456789abcdef&x=1",
        f"Authorization: OAuth {TOKEN}",
        "postgresql://user:hunter2secret@db/x",
    ],
)
def test_redact_hides_secrets(text: str) -> None:
    clean = redact(text)
    assert "0123456789abcdef" not in clean
    assert "hunter2secret" not in clean
    assert "***" in clean


def test_redact_hides_the_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAPILLARY_TOKEN", "an-unusual-token")
    assert redact("failed with an-unusual-token!") == "failed with ***!"


def test_log_records_are_redacted_with_their_exceptions() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("geocorrect.test_log")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        raise ValueError(f"bad url ?access_token={TOKEN}")
    except ValueError:
        logger.exception("request %s failed", TOKEN, extra={"image_id": "42"})
    logger.removeHandler(handler)
    entry = json.loads(stream.getvalue())
    assert entry["image_id"] == "42"
    assert "ValueError" in entry["exception"]
    assert "0123456789abcdef" not in stream.getvalue()
