"""Incoming events: ObjectCreated from any store's notification. Outgoing events: CloudEvents."""

from shared.events.created import ObjectCreated, UnknownEvent
from shared.events.envelopes import parse, parse_text
from shared.events.outgoing import completion_event, put_event

__all__ = ["ObjectCreated", "UnknownEvent", "completion_event", "parse", "parse_text", "put_event"]
