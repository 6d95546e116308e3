"""Everything sent to a queue is answered: never with a 500, never by a stop, and what was accepted comes out again."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.parameters import OURS
from tests.echo import until
from tests.serving import INPUT, SINK, Served, get, put

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

hostile = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(
        ["", "0", "-1", "9" * 400, "9" * 5000, "NaN", "1e999", "true", "\r\nX: 1", "\x00", "0s", "1ms", "é"]
    ),
    st.integers(-(2**70), 2**70).map(str),
)
names = st.one_of(st.sampled_from(sorted(OURS - {"_watch_"})), st.sampled_from(["requestId", "ts@source"]), hostile)
queries = st.dictionaries(names, hostile, max_size=6).map(lambda query: {"_timeout_": "0"} | query)
headers = st.dictionaries(
    st.sampled_from(
        ["X-EAS-QueueService-Priority", "X-EAS-QueueService-Uid", "Content-Type", "Range", "X-EAS-QueueService-Gid"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20),
    max_size=3,
)
pieces = st.sampled_from(
    [b"{", b"}", b'"request_id"', b":", b"1", b'"a"', b"[", b"]", b",", b"NaN", b"'", b"\xff", b'"\\ud800"', b"None"]
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.lists(pieces, max_size=12).map(b"".join),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    ).map(lambda value: json.dumps({"request_id": "f", "configure": value}).encode()),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("fuzz"), longest_poll_seconds=0.01).running() as running:
        yield running


@FEW
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.sampled_from([INPUT, SINK, "/healthz", "/api/predict/x"]),
    queries,
    headers,
    bodies,
)
def test_no_call_is_answered_with_500(client, method, path, query, more, body):
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in more.items()]
    response = client.request(method, path, params=query, headers=encoded, content=body)
    assert response.status_code in {200, 204, 400, 404, 405}, response.text
    assert not {"x", "x-evil"} & set(response.headers)


@FEW
@given(hostile, hostile, bodies)
def test_a_put_into_the_sink_is_refused_or_comes_back_with_its_tags_raw_and_framed(client, name, value, body):
    response = client.post(SINK, params={name: value}, content=body)
    assert response.status_code in {200, 400}
    if response.status_code == 200:
        index = int(response.text)
        [frame] = get(client, index=index, timeout="0")
        assert (frame.index, frame.data) == (index, body)
        assert name in OURS or frame.tags[name] == value
        raw = client.get(SINK, params={"_index_": index, "_raw_": "true", "_timeout_": "0"})
        assert (raw.status_code, raw.content) == (200, body)


@FEW
@given(bodies)
def test_a_put_of_any_bytes_is_accepted(client, body):
    index, identity = put(client, body)
    assert index > 0
    assert len(identity) == 36


def test_after_all_of_this_the_server_goes_on(client):
    _, identity = put(client, b"no request at all")
    found = []

    def answered() -> bool:
        with contextlib.suppress(AssertionError):
            found[:] = get(client, requestId=identity, timeout="0")
        return bool(found)

    until(answered)
    assert json.loads(found[0].data)["data"]["error"]["type"] == "InvalidManifest"
