"""Entry point: runs the command line and turns errors into messages and exit codes."""

from __future__ import annotations

import gc
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from geocorrect.errors import ExitCode, GeocorrectError


def main() -> NoReturn:
    """Run the command line; never returns. SIGTERM ends every command tidily, long jobs after the work at hand."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(run(sys.argv[1:]))
    finally:
        # Python would look through every object of every library for cycles before it ends, for a second or more.
        gc.freeze()


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    # An exception, not the system's default, so that unfinished files are removed and locks given back.
    sys.exit(int(ExitCode.TERMINATED))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; messages go to stderr, without secrets."""
    import typer

    from geocorrect.cli.app import app

    try:
        code = app(args=arguments, prog_name="geocorrect", standalone_mode=False)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except _usage_errors(typer) as error:
        error.show()
        return int(ExitCode.USAGE)
    except GeocorrectError as error:
        from geocorrect.log import say

        say(f"error: {error}", error=True)
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        from geocorrect.log import say

        say("interrupted", error=True)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return int(ExitCode.OK)
    return int(code or ExitCode.OK)


def _usage_errors(typer: Any) -> Any:
    """Base class of what typer raises for a wrong command line: click's, or the copy of click that typer carries."""
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


if __name__ == "__main__":
    main()
