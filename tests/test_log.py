"""Secrets never reach a log; lines say which run and image they are about."""

from __future__ import annotations

import io
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from geocorrect.cli.console import stderr
from geocorrect.log import (
    JsonFormatter,
    LogOptions,
    RedactingFilter,
    begin_run,
    current_setup,
    end_run,
    logged_image,
    note_run_key,
    resume,
    say,
    set_up_logging,
)
from geocorrect.redaction import redact

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


@pytest.fixture
def json_log(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, object]]]]:
    """The lines of stderr, each of them parsed; the log is text again afterwards."""
    end_run()  # of a run that another test began in this process
    set_up_logging(LogOptions("info", "json"))
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    end_run()
    set_up_logging(LogOptions())


def test_lines_name_run_and_image(json_log: Callable[[], list[dict[str, object]]]) -> None:
    log = logging.getLogger("geocorrect.test_log_json")
    log.info("before")
    run_id = begin_run()
    with logged_image("42"):
        log.info("inside %d", 1)
        with logged_image("43"):
            log.warning("deeper")
    note_run_key("0123456789abcdef")
    say("for people")
    lines = json_log()
    assert [line.get("run_id") for line in lines] == [None, run_id, run_id, run_id]
    assert [line.get("image_id") for line in lines] == [None, "42", "43", None]
    assert lines[3]["run_key"] == "0123456789ab"
    assert [line["message"] for line in lines] == ["before", "inside 1", "deeper", "for people"]


def test_threads_belong_to_the_run(json_log: Callable[[], list[dict[str, object]]]) -> None:
    run_id = begin_run()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(logging.getLogger("geocorrect.thread").info, "from a thread").result()
    assert [line["run_id"] for line in json_log()] == [run_id]


def test_a_worker_takes_over_how_its_parent_logs(json_log: Callable[[], list[dict[str, object]]]) -> None:
    run_id = begin_run()
    setup = pickle.loads(pickle.dumps(current_setup()))
    end_run()
    set_up_logging(LogOptions())
    resume(setup)
    logging.getLogger("geocorrect.worker").info("at work")
    assert [line["run_id"] for line in json_log()] == [run_id]


def test_tables_of_people_become_lines_of_the_log(json_log: Callable[[], list[dict[str, object]]]) -> None:
    stderr().print("first\nsecond [bold]third[/]")
    assert [line["message"] for line in json_log()] == ["first", "second third"]


def test_warnings_and_secrets_in_the_json_log(json_log: Callable[[], list[dict[str, object]]]) -> None:
    say(f"failed with {TOKEN}", error=True)
    (line,) = json_log()
    assert line["level"] == "error"
    assert "0123456789abcdef" not in str(line)
