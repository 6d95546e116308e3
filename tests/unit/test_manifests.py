"""Manifests: what is accepted, what is refused and how it is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidManifest
from shared.manifests import parse

JAVA = b"""{
  'request_id'    : 12345,
  'images'    : ["xx.jpg", "xx.jpg"],
  'configure' : {
    'face_reconize' : True,
  }
}"""


def test_a_number_as_request_id_becomes_a_string_and_stays_a_number_in_the_body():
    manifest = parse(b'{"request_id": 12345}')
    assert manifest.request_id == "12345"
    assert manifest.body["request_id"] == 12345


def test_the_text_of_the_java_samples_is_the_same_object():
    plain = b'{"request_id": 12345, "images": ["xx.jpg", "xx.jpg"], "configure": {"face_reconize": true}}'
    assert parse(JAVA).body == json.loads(plain)
    assert parse(JAVA).sha256 == parse(plain).sha256


def test_order_and_white_space_do_not_make_another_body_but_a_value_does():
    assert parse(b'{"request_id":"a","x":1}').sha256 == parse(b'{ "x" : 1, "request_id" : "a" }').sha256
    assert parse(b'{"request_id":"a","x":1}').sha256 != parse(b'{"request_id":"a","x":2}').sha256


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b'{"request_id": "a"', "not JSON"),
        (b"[1, 2]", "must be an object"),
        (b"{'request_id': open('x')}", "not JSON"),
        (b'{"request_id": "a", "x": NaN}', "not JSON"),
        (b"{'request_id': 'a', 'x': {1, 2}}", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "deeper than 64"),
        (b"{}", "no request_id"),
        (b'{"request_id": true}', "must be a string or a whole number"),
        (b'{"request_id": 1.5}', "must be a string or a whole number"),
        (b'{"request_id": "../x"}', "1 to 128"),
        (b'{"request_id": ".x"}', "not start with a dot"),
        (b'{"request_id": ""}', "1 to 128"),
        (b'{"request_id": "' + b"x" * 129 + b'"}', "1 to 128"),
        (b'{"request_id": "a\\n"}', "1 to 128"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text, said):
    with pytest.raises(InvalidManifest, match=said):
        parse(text)


@given(st.dictionaries(st.text(), st.recursive(st.integers() | st.text() | st.booleans() | st.none(), st.lists)))
def test_the_beginning_of_an_object_is_never_a_whole_one(body):
    text = json.dumps(body | {"request_id": 1}).encode()
    assert parse(text).request_id == "1"
    for end in range(0, len(text), max(1, len(text) // 20)):
        with pytest.raises(InvalidManifest):
            parse(text[:end])
