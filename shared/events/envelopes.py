"""Envelopes of notifications: SQS messages, SNS notifications, MNS messages, batches, in any nesting."""

import base64
import json
from collections.abc import Callable
from typing import Any

from shared.contract.manifests import Json
from shared.events import senders
from shared.events.created import ObjectCreated, UnknownEvent

DEEPEST = 5  # nested envelopes; SNS in SQS in a Lambda event are three


def parse(event: object) -> list[ObjectCreated]:
    """Return the objects that an event names; none for test events, removals, folder markers and empty objects.

    Args:
        event: a decoded event in any form of `senders.py`, in any envelope.

    Raises:
        UnknownEvent: if it is not a storage event, or lacks a part of its form.
    """
    try:
        return [one for one in _open(event, 0) if one.holds_something]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnknownEvent(f"an incomplete storage event: {type(error).__name__} {error}") from error


def parse_text(text: str) -> list[ObjectCreated]:
    """Return the objects that the event in a message names: JSON, or JSON as base64; raises UnknownEvent."""
    return parse(_decode(text))


def _open(event: object, depth: int) -> list[ObjectCreated]:
    """Return the objects in an event or envelope of any kind."""
    if depth > DEEPEST:
        raise UnknownEvent(f"more than {DEEPEST} nested envelopes")
    if isinstance(event, str):
        return _open(_decode(event), depth + 1)
    if isinstance(event, list):  # a batch of CloudEvents
        return _read_each(event, lambda one: _open(one, depth + 1))
    if isinstance(event, dict):
        return _read_object(event, depth)
    raise UnknownEvent(f"not a storage event: a {type(event).__name__}")


def _read_object(event: Json, depth: int) -> list[ObjectCreated]:
    if event.get("Event") == "s3:TestEvent":
        return []
    if isinstance(event.get("Records"), list):
        return _read_each(event["Records"], lambda record: _read_record(record, depth))
    if event.get("source") == "aws.s3":
        return senders.from_eventbridge(event)
    if isinstance(event.get("events"), list):
        return _read_each(event["events"], senders.from_oss)
    if "specversion" in event:
        return senders.from_cloud_event(event)
    return _open(_get_content(event), depth)


def _read_record(record: Json, depth: int) -> list[ObjectCreated]:
    """Return the objects of one of `Records`: a store's, or a message that Lambda was given in one."""
    if "Sns" in record:
        return _open(record["Sns"]["Message"], depth)
    if "body" in record:
        return _open(record["body"], depth)
    return senders.from_s3_record(record)


def _get_content(event: Json) -> object:
    """Return the content of an envelope: SQS's `Body`, SNS's and MNS's `Message`, MNS's `MessageBody`."""
    for name in ("Body", "Message", "MessageBody"):
        if isinstance(event.get(name), str):
            return event[name]
    raise UnknownEvent(f"not a storage event: its keys are {', '.join(sorted(map(str, event))) or '(none)'}")


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as not_json:  # ValueError also for numbers with thousands of digits
        try:
            return json.loads(base64.b64decode(text, validate=True))
        except (ValueError, RecursionError):
            raise UnknownEvent(f"not JSON: {not_json}") from not_json


def _read_each(entries: list[Any], read: Callable[[Any], list[ObjectCreated]]) -> list[ObjectCreated]:
    return [one for entry in entries for one in read(entry)]
