"""Hostile events: each is read as objects whose keys are text, or is an UnknownEvent; nothing else, and not slowly."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract import keys
from shared.events import ObjectCreated, UnknownEvent, parse, parse_text
from shared.events.created import LONGEST_REASON
from tests.hostile.events import SURPRISES, altered, names, samples, texts

WORDS = sorted({name for event in samples().values() for name in names(event)} | {"Body", "MessageBody", "Event"})
SQS_BYTES = 256 * 1024  # what a message may have


def objects(read, event) -> list[ObjectCreated]:
    """What is read out of an event; none where it is unknown. Any other error fails the test."""
    found, reason = [], "none"
    try:
        found = read(event)
    except UnknownEvent as error:
        reason = str(error)
    assert 0 < len(reason) <= LONGEST_REASON
    for one in found:
        assert isinstance(one.key, str)
        assert one.bucket is None or isinstance(one.bucket, str)
        assert one.size is None or (isinstance(one.size, int) and not isinstance(one.size, bool))
        assert one.etag is None or isinstance(one.etag, str)
        keys.is_request(one.key, "check")
        one.below("prefix/")
    return found


@pytest.mark.parametrize("name", samples())
def test_an_event_with_any_part_replaced_lost_or_wrapped_is_read_or_unknown(name):
    event = samples()[name]
    for one in altered(event):
        objects(parse, one)


@pytest.mark.parametrize("hostile", texts(), ids=lambda one: one.name)
def test_a_message_of_any_text_is_read_or_unknown_and_takes_no_time(hostile):
    text = hostile.make(SQS_BYTES)
    begun = time.process_time()
    objects(parse_text, text)
    assert time.process_time() - begun < 1


value = st.recursive(
    st.one_of(st.sampled_from(SURPRISES), st.text(max_size=10), st.integers(), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(WORDS),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(value)
def test_any_object_made_of_the_words_of_events_is_read_or_unknown(event):
    objects(parse, event)
    objects(parse_text, json.dumps(event))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_unknown(text):
    objects(parse_text, text)
