"""From errors to exit codes: 0 done, 1 a check failed, 2 wrong usage or input."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from fxprune.errors import DeployError, DistillError, EvaluationError, FxpruneError, PassError, RuleError, VerifyError
from fxprune.printable import printable

CHECK_FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
# not of the user's making: a proof, an export, a training run or a pass that failed
_FAILURES = (VerifyError, DeployError, DistillError, EvaluationError, PassError, RuleError)


def process_index() -> int:
    """Return the number of this process among those a launcher started; 0 without one."""
    return int(os.environ.get("RANK", "0"))


def handled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Print an `FxpruneError` as it stands, without a traceback, and exit with its code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except FxpruneError as error:
            fail(error, as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt as error:
            click.echo("interrupted; nothing more is written", err=True)
            sys.exit(128 + getattr(error, "number", INTERRUPTED - 128))
        except BrokenPipeError:  # the reader of our output went away
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(CHECK_FAILED)
        except OSError as error:
            if error.filename is None or error.strerror is None:
                raise
            fail(
                DeployError(f"'{error.filename}' cannot be written or read", cause=error.strerror),
                as_json=bool(kwargs.get("as_json")),
            )

    return run


def fail(error: FxpruneError, *, as_json: bool = False) -> NoReturn:
    """Say what went wrong on stderr (and as JSON on stdout, if asked) and exit."""
    kind = type(error).__name__
    if process_index():  # the first process tells all of it
        click.echo(printable(f"process {process_index()}: {kind}: {error.message}"), err=True)
        sys.exit(_code(error))
    click.echo(f"{kind}: {error}", err=True)
    if as_json:
        fields = {"error": kind, "message": error.message, "remedy": error.remedy}
        click.echo(json.dumps({**fields, "cause": str(error.cause) if error.cause else None}))
    sys.exit(_code(error))


def _code(error: FxpruneError) -> int:
    own: int | None = getattr(error, "exit_code", None)  # of a run that a signal has stopped
    return own or (CHECK_FAILED if isinstance(error, _FAILURES) else WRONG_USE)
