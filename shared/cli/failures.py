"""How every verb ends if something outside it fails: with one line, and an exit status that says what.

| what | exit status |
|---|---|
| a function or a worker does not start, whatever its settings | 1 |
| wrong settings; missing models, packages or credentials; a name that cannot be a key or bucket | 2 |
| Ctrl-C | 130 |
| a local file cannot be read or written: a picture, a portrait, on a full disk too | 74 |
| a store or a queue is unavailable, on a full disk too | 75, see `exit_unavailable` |

From a verb that sends a request, 1 means an answer with an error, and from `forget`, that something remains: no failure
here that such a verb can meet ends with 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from shared.buckets import BucketError, InvalidKey
from shared.cli import INTERRUPTED
from shared.cli.console import exit_unavailable, fail
from shared.contract.function import FunctionUnavailable
from shared.contract.validation import describe_errors
from shared.contract.visible import visible
from shared.errors import ConfigurationError
from shared.runtime.supervisor import WorkerGivenUp
from shared.triggers.sqs_queue import QueueError

INPUT_OUTPUT = 74  # EX_IOERR of sysexits.h
SETTINGS = ("Settings", "ServeSettings")  # the classes that are read from the environment


@contextmanager
def one_line() -> Iterator[None]:
    """Exit with one line, without a traceback, for errors that say what to do."""
    try:
        yield
    except (ConfigurationError, InvalidKey) as error:  # first, as some of these are errors of the following kinds too
        fail(_join_lines(str(error)))
    except SettingsError as error:
        fail(_join_lines(f"{error}: {error.__cause__}" if error.__cause__ else str(error)))
    except ValidationError as error:
        if error.title not in SETTINGS:
            raise
        fail(wrong_settings(error))
    except (BucketError, QueueError) as error:
        exit_unavailable(_join_lines(str(error)))
    except WorkerGivenUp as error:
        _end(str(error), error.status)
    except FunctionUnavailable as error:
        _end(str(error), 1)
    except OSError as error:
        _end_at_file(error)
    except KeyboardInterrupt:
        _end("stopped", INTERRUPTED)


def wrong_settings(error: ValidationError) -> str:
    """Return each variable with what is wrong with it; never its value, which may be a secret."""
    wrong = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"PHOTOG_{'__'.join(map(str, one['loc'])).upper()}: {describe_errors(one)}" for one in wrong)


def _end_at_file(error: OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        raise error  # the reader of our output is gone, so there is nobody to tell
    told = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    _end(told or type(error).__name__, INPUT_OUTPUT)


def _end(message: str, status: int) -> NoReturn:
    typer.echo(f"photog: {visible(_join_lines(message))}", err=True)
    raise typer.Exit(status)


def _join_lines(message: str) -> str:
    return " ".join(message.split())
