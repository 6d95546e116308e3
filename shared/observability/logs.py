"""Logs for operators: one line per event on stderr, as text or JSON, with the request that it is about.

    2026-01-31T12:00:00.123Z INFO shared.lifecycle.invocation [generate r1 attempt 2 3.2 s] ends: success
    {"time": "2026-01-31T12:00:00.123Z", "level": "INFO", "logger": "shared.lifecycle.invocation",
     "message": "ends: success", "function": "generate", "request_id": "r1", "attempt": 2, "seconds": 3.2} (one line)

A request's ids come from `request_context`, so that code that logs need not name them. `seconds` is the time since the
request began. `metadata` of a request follows them, as an object in both forms. An event logged with an exception has
the fields `error`, its class, and `traceback`. No message can begin a line of its own, and `redaction.py` removes what
must not be logged.
"""

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Any, Literal, TextIO

from pydantic import BaseModel, BeforeValidator, Field

from shared.contract.redaction import redact
from shared.contract.trace_context import read_trace_id
from shared.contract.visible import visible

LONGEST_MESSAGE = 16 * 1024  # characters of a line's message, most of them from elsewhere
LONGEST_TRACEBACK = 32 * 1024  # characters; the end, which names the error, is kept
READ_AT_MOST = 4 * LONGEST_TRACEBACK  # characters of a text before redaction, whose time is thus bounded
CHATTY = ("httpx", "watchfiles", "transformers", "diffusers", "boto3", "botocore", "urllib3")
DETAILS = ("code", "error", "stage", "reason")  # fields that `extra` may add; others are not logged

_SURROGATE = re.compile(r"[\ud800-\udfff]")


class LogSettings(BaseModel):
    """Logging of a process."""

    format: Literal["text", "json"] = Field(
        "text", description="json for log collectors; one event per line in both formats"
    )
    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda given: str(given).upper())
    ] = Field("INFO", description="lowest level that is logged")


@dataclass(frozen=True)
class _Request:
    function: str
    request_id: str
    attempt: int
    begun: float
    bystanders: frozenset[threading.Thread]
    metadata: Mapping[str, object]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun


_own: ContextVar[_Request | None] = ContextVar("request", default=None)
_running: list[_Request] = []  # of the process, for threads that a request starts


@contextmanager
def request_context(
    function: str, request_id: str, attempt: int, metadata: Mapping[str, object] | None = None
) -> Iterator[None]:
    """Attach these ids and the request's metadata to everything logged by this thread, and by threads started in it.

    Threads that existed before continue work that is not this request's, so their events get no ids.
    """
    bystanders = frozenset(threading.enumerate())
    request = _Request(function, request_id, attempt, time.monotonic(), bystanders, metadata or {})
    token = _own.set(request)
    _running.append(request)
    try:
        yield
    finally:
        _running.remove(request)
        _own.reset(token)


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Log to `stream`, or to stderr if None; also uncaught errors and warnings. May be called again."""
    # their own handlers would tell every user that torchvision is missing, which nothing here needs, and the like
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    handler = _Lines(stream)
    handler.addFilter(_add_request)
    handler.setFormatter(
        JsonFormatter() if settings.format == "json" else TextFormatter(not (stream or sys.stderr).isatty())
    )
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one, _Lines)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(settings.level)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_ended_thread


class JsonFormatter(logging.Formatter):
    """One JSON object per line, in ASCII only, so that no reader sees a line end within it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, Any] = {
            "time": _format_time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _without_surrogates(_format_message(record)),
            **_collect_fields(record),
        }
        traceback = _format_traceback(self, record)
        if traceback:
            line["traceback"] = _without_surrogates(traceback)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """One line for people, with invisible characters spelled out.

    Args:
        folded: keep a traceback on its event's line; otherwise it follows in indented lines, as suits a terminal.
    """

    def __init__(self, folded: bool = True) -> None:
        super().__init__()
        self._folded = folded

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line."""
        fields, about = _collect_fields(record), ""
        if "request_id" in fields:
            metadata = f" {json.dumps(fields['metadata'])}" if "metadata" in fields else ""
            about = "[{function} {request_id} attempt {attempt} {seconds:.1f} s{0}] ".format(metadata, **fields)
        line = f"{_format_time(record)} {record.levelname} {record.name} {about}{visible(_format_message(record))}"
        traceback = _format_traceback(self, record)
        if not traceback:
            return line
        if self._folded:
            return f"{line} {visible(traceback)}"
        return "\n".join([line, *(f"    {visible(one)}" for one in traceback.split("\n"))])


class _Lines(logging.Handler):
    """photog's own handler, told apart from others' by its class; it uses the stderr of the moment of writing."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line in one piece and flush; a reader that has disconnected is not an error."""
        stream, line = self._stream or sys.stderr, self.format(record)
        encoding = stream.encoding or "utf-8"
        shown = line.encode(encoding, "backslashreplace").decode(encoding)
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            stream.write(shown + "\n")
            stream.flush()


def _add_request(record: logging.LogRecord) -> bool:
    """Give a record the ids of the request that its thread works on."""
    request = _own.get()
    if request is None and len(_running) == 1 and threading.current_thread() not in _running[0].bystanders:
        request = _running[0]
    if request is not None:
        record.request = request
        record.elapsed = round(request.seconds, 3)
    return True


def _collect_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the record's fields besides its message, under the names of the JSON form."""
    fields: dict[str, Any] = {}
    request = getattr(record, "request", None)
    if isinstance(request, _Request):
        fields = {
            "function": visible(request.function[:128]),
            "request_id": visible(request.request_id[:128]),
            "attempt": request.attempt,
            "seconds": getattr(record, "elapsed", 0.0),
        }
        if request.metadata:
            if (trace := read_trace_id(request.metadata)) is not None:
                fields["trace_id"] = trace
            fields["metadata"] = {_show(name): _show(value) for name, value in request.metadata.items()}
    if record.exc_info and record.exc_info[0] is not None:
        fields["error"] = record.exc_info[0].__name__
    for name in DETAILS:
        if getattr(record, name, None) is not None:
            fields[name] = visible(redact(str(getattr(record, name))[:256]))
    return fields


def _show(value: object) -> object:
    """Return a name or a value of a request's metadata as it may be logged."""
    return _without_surrogates(visible(redact(value))) if isinstance(value, str) else value


def _format_message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a wrong call or an unprintable argument must not lose the event
        message = f"{record.msg} [{type(error).__name__} in its arguments]"
    clean = redact(message[:READ_AT_MOST])
    return clean if len(clean) <= LONGEST_MESSAGE else clean[:LONGEST_MESSAGE] + " [cut]"


def _format_traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    text = "\n".join(parts)
    if len(text) > READ_AT_MOST:  # cut at a line's end, because half of a secret would not be recognized
        text = text[-READ_AT_MOST:].partition("\n")[2]
    clean = redact(text)
    return clean if len(clean) <= LONGEST_TRACEBACK else "[cut] " + clean[-LONGEST_TRACEBACK:]


def _format_time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_surrogates(text: str) -> str:
    """Return the text with halves of surrogate pairs spelled out, since many JSON readers reject them."""
    return _SURROGATE.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("photog").critical("the process ends because of an error", exc_info=(kind, error, trace))


def _log_ended_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is None or issubclass(arguments.exc_type, SystemExit):
        return
    name = arguments.thread.name if arguments.thread is not None else "?"
    exception = (arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    logging.getLogger("photog").error("thread %s ended because of an error", name, exc_info=exception)
