"""The small parts of the queue server, each by itself."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from serve import durations, queue_pb2, wire
from serve.auth import is_any_token, is_token_of
from serve.holds import BackoffHolds
from serve.message import Message, decode_message, encode_message
from serve.parameters import BadParameter, Parameters
from serve.release_window import ReleaseWindow
from serve.settings import ServeSettings, parse_pairs
from tests.deployment import ROOT


def test_a_frame_is_the_sdks_message_byte_by_byte():
    frame = wire.Frame(300, {"a": "b"}, b"\x00data", "m")
    expected = b"\x08\xac\x02" + b"\x12\x06\x0a\x01a\x12\x01b" + b"\x1a\x05\x00data" + b"\x22\x01m"
    assert wire.one(frame) == expected
    assert wire.several([frame]) == b"\x0a" + bytes([len(expected)]) + expected
    assert wire.several([]) == b""


def test_the_generated_messages_are_those_of_the_proto_file():
    declared = (ROOT / "serve" / "queue.proto").read_text()
    fields = re.findall(r"^  ([\w<>, ]+?) (\w+) = (\d+);$", declared, re.MULTILINE)
    messages = queue_pb2.DESCRIPTOR.message_types_by_name.values()
    generated = [(field.name, str(field.number)) for message in messages for field in message.fields]
    assert [(name, number) for _, name, number in fields] == generated, "run: make proto"


@given(st.integers(0, 2**63 - 1), st.dictionaries(st.text(), st.text()), st.binary())
def test_a_frame_comes_back_as_it_was_sent(index, tags, data):
    frame = wire.Frame(index, tags, data)
    assert wire.read_one(wire.one(frame)) == frame
    assert wire.read_several(wire.several([frame, frame])) == [frame, frame]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("0", 0), ("0s", 0), ("1m30s", 90), ("250ms", 0.25), ("1h10m4.997s", 4204.997), ("7", 7)],
)
def test_durations_are_read_as_go_writes_them(text, seconds):
    assert durations.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 s", "5x", "1e3s", "five"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is no duration"):
        durations.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.004, "0.004s"), (59.9999, "1m0s"), (78064.995, "21h41m4.995s"), (-1, "0s")]
)
def test_durations_are_written_as_the_page_shows_them(seconds, text):
    assert durations.format_duration(seconds) == text


@given(st.binary(), st.dictionaries(st.text(), st.text()))
def test_a_record_keeps_its_bytes_and_tags_whatever_they_are(body, tags):
    record = Message(uuid="u", service="s", source=1, tags=tags, accepted=1.0)
    assert decode_message(encode_message(record, body)) == (record, body)


def test_the_lead_is_one_for_slow_requests_and_grows_while_workers_outrun_it():
    now = [0.0]
    window = ReleaseWindow(8, clock=lambda: now[0])
    assert window.room(set()) == 1
    for expected in (2, 4, 8, 8):
        window.add("a")
        now[0] += 0.1
        assert window.room(set()) == expected
    window.add("slow")
    for expected in (4, 2, 1, 1):
        now[0] += 1.1
        window.room({"slow"})
        assert window.size == expected
    assert window.room({"slow"}) == 0
    now[0] += 60
    assert window.room(set()) == 1, "claimed a minute after it was released: the workers are slow"


def test_a_token_opens_its_service_only():
    settings = ServeSettings(token="all", tokens={"photog_check": "own"})
    assert is_token_of(settings, "photog_check", "own")
    assert is_token_of(settings, "photog_check", "Bearer own")
    assert not is_token_of(settings, "photog_check", "all")
    assert is_token_of(settings, "photog_pre_pmml", "all")
    assert not is_token_of(settings, "photog_pre_pmml", None)
    assert not is_token_of(ServeSettings(token=None), "photog_check", "")
    assert not is_token_of(ServeSettings(token=None), "photog_check", None)


def test_the_token_comes_from_the_environment_under_the_name_that_the_page_of_settings_gives(monkeypatch):
    monkeypatch.setenv("PHOTOG_TOKEN", "secret")
    monkeypatch.setenv("PHOTOG_SERVE__TOKENS", '{"photog_check": "own"}')
    settings = ServeSettings()
    assert (settings.token_of("photog_check"), settings.token_of("photog_train_pmml")) == ("own", "secret")
    assert settings.without_token() == []


def test_token_options_are_pairs():
    assert parse_pairs(["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    with pytest.raises(ValueError, match="SERVICE=TOKEN"):
        parse_pairs(["a"])


@pytest.mark.parametrize("given", ["\xff\xfe", "\u20ac", "s\xe9cret", "", "Bearer", "Bearer ", "x" * 100_000])
def test_a_wrong_token_of_any_characters_opens_nothing_and_raises_nothing(given):
    assert not is_token_of(ServeSettings(token="secret"), "photog_check", given)
    assert not is_any_token(ServeSettings(token="secret"), given)


@pytest.mark.parametrize("sent", ["s\xe9cret".encode(), "s\xe9cret".encode("latin-1")])
def test_a_token_beyond_ascii_opens_however_its_sender_wrote_it(sent):
    assert is_token_of(ServeSettings(token="s\xe9cret"), "photog_check", sent.decode("latin-1"))


def test_settings_do_not_show_their_tokens():
    shown = repr(ServeSettings(token="hidden-1", tokens={"photog_check": "hidden-2"}))
    assert "hidden" not in shown
    with pytest.raises(ValueError, match="SERVICE=TOKEN") as refused:
        parse_pairs(["hidden"])
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["a\r\nb", "a\nb", "\x00", "\t", "\x7f", "\x85", "\u20ac", "\ufffd", "\U0001f600", chr(0xD800)]
)
def test_labels_that_no_header_can_hold_are_refused_and_named(text):
    for query in ({"shop": text}, {text: "north"}):
        with pytest.raises(BadParameter, match=r"the tag '"):
            Parameters(query, Headers()).labels()


@pytest.mark.parametrize("text", ["", " ", "~", "\xa0", "\xe9\xff", "a b&c=d"])
def test_labels_of_printable_latin_1_are_taken(text):
    assert Parameters({"shop": text, "_priority_": "1"}, Headers()).labels() == {"shop": text}


def test_more_than_a_hundred_tags_are_refused():
    assert len(Parameters({f"k{number}": "" for number in range(100)}, Headers()).tags()) == 100
    with pytest.raises(BadParameter, match="101 tags"):
        Parameters({f"k{number}": "" for number in range(101)}, Headers()).tags()


@given(st.text())
def test_a_number_or_a_duration_is_read_or_refused_whatever_is_written(text):
    asked = Parameters({"_index_": text, "_timeout_": text, "_indexes_": text}, Headers())
    for read in (
        lambda: asked.number("_index_", 0),
        lambda: asked.seconds("_timeout_", 0),
        lambda: asked.numbers("_indexes_"),
    ):
        with contextlib.suppress(BadParameter):
            read()


@pytest.mark.parametrize("text", ["9" * 5000, "1e400", "NaN", "inf", "-1", "0x10", "\u0661" * 5000])
def test_numbers_that_no_queue_can_have_are_refused(text):
    with pytest.raises(BadParameter, match="_index_"):
        Parameters({"_index_": text}, Headers()).number("_index_", 0)


def test_a_put_that_fails_waits_ever_longer_and_is_forgotten_when_it_went_well():
    now = [0.0]
    holds = BackoffHolds(clock=lambda: now[0])
    assert holds.hold("a")
    for pause in (0.5, 1, 2, 4):
        assert holds.now() == {"a"}
        now[0] += pause
        assert holds.now() == set()
        assert not holds.hold("a")
    holds.forget("a")
    assert holds.now() == set()
    assert holds.hold("a")
