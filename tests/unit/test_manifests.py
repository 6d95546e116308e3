"""Manifests: what is accepted, what is refused, and with which error."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.check.request import CheckConfigure, CheckRequest
from functions.generate.request import GenerateConfigure, GenerateRequest
from functions.train.request import TrainConfigure, TrainRequest
from shared.buckets import InvalidKey, MemoryBucket
from shared.contract.manifests import parse
from shared.contract.meaning import DEFAULTS
from shared.contract.validation import Body, UserId, echo, validate
from shared.errors import InvalidField, InvalidManifest
from shared.operations.erasure import Erasure
from shared.settings import Lease

KNOBS = ("face_reconize", "max_train_steps", "sex", "seed", "mask_region", "first_diffusion_steps", "image_format")
JAVA = b"""{
  'request_id'    : 12345,
  'images'    : ["xx.jpg", "xx.jpg"],
  'configure' : {
    'face_reconize' : True,
  }
}"""

PLAIN = b'{"request_id": 12345, "images": ["xx.jpg", "xx.jpg"], "configure": {"face_reconize": true}}'


def test_a_number_as_request_id_becomes_a_string_and_stays_a_number_in_the_body():
    manifest = parse(b'{"request_id": 12345}')
    assert manifest.request_id == "12345"
    assert manifest.body["request_id"] == 12345


def test_the_text_of_the_java_samples_is_the_same_object():
    assert parse(JAVA).body == json.loads(PLAIN)
    assert parse(JAVA).sha256 == parse(PLAIN).sha256


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
        (b"\xff\xfe", "not JSON"),
        (b"\xff\xff", "not UTF-8"),
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


PADDED = ["\0", "\0" * 4096, "\r\n\0\0", "\x1a", "\xa0", "\ufeff", "\u200b\n", "\u2028", "\u3000\0\x1a"]


@pytest.mark.parametrize("padding", PADDED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [PLAIN.decode(), JAVA.decode()], ids=["json", "sample"])
def test_what_pads_a_file_at_its_end_is_no_part_of_its_text(text, encoding, padding):
    padded = parse(f"{text}{padding}".encode(encoding))
    assert (padded.request_id, padded.wrong) == ("12345", "")
    assert padded.sha256 == parse(PLAIN).sha256


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff\ufeff", "\u200b", " \n", "\u2060\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_nobody_sees_before_a_text_is_no_part_of_it(mark, encoding):
    for text in (PLAIN.decode(), "{'request_id': 'r1'}"):
        assert parse(f"{mark}{text}".encode(encoding)).request_id == parse(text.encode()).request_id


@pytest.mark.parametrize("padding", [b"\xff" * 512, b"\0\xff\0", b"\xa0"])
def test_a_padding_that_is_no_text_is_told_under_the_sender_s_id(padding):
    padded = parse(PLAIN + padding)
    assert padded.request_id == "12345"
    assert "is not UTF-8 text" in padded.wrong


@pytest.mark.parametrize(
    "text", [PLAIN + b"\0x", PLAIN[:-1] + b"\0", b"\0" * 9, PLAIN[:9] + b"\0" + PLAIN[9:], PLAIN * 2]
)
def test_nothing_but_padding_may_follow_an_object_or_stand_within(text):
    with pytest.raises(InvalidManifest):
        parse(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\r\n"])
def test_a_manifest_in_any_unicode_is_read_as_if_it_were_utf_8(encoding, mark, end):
    text = '{"request_id": "u16",\r\n"images": ["photos/caf\xe9.jpg"]}' + end
    manifest = parse((mark + text).encode(encoding))
    assert manifest.body == json.loads(text)
    assert manifest.sha256 == parse(text.encode()).sha256
    assert (manifest.wrong, manifest.warnings) == ("", ())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_the_samples_text_in_utf_16_is_read_too_and_half_a_character_behind_it_is_no_fault(encoding):
    text = JAVA.decode().encode(encoding)
    assert parse(text).body == parse(JAVA).body
    assert parse(text + b"\n").wrong == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"request_id": "cafe-1", "images": ["caf\xe9.jpg"]}'.encode("latin-1"), "UTF-8"),
        (b'{"request_id": "cafe-1", "images": ["\x80\x93.jpg"]}', "UTF-8"),
        (b'\xef\xbb\xbf{"request_id": "cafe-1", "images": ["\xe9"]}', "UTF-8"),
        ('{"request_id": "cafe-1", "images": ["'.encode("utf-16-le") + b'\x3d\xd8"\0]\0}\0', "UTF-16-LE"),
    ],
)
def test_what_cannot_be_decoded_keeps_the_sender_s_id_and_says_which_encoding_to_use(text, named):
    manifest = parse(text)
    assert manifest.request_id == "cafe-1"
    with pytest.raises(InvalidManifest, match=f"not {named} text: .* save it as UTF-8"):
        manifest.require_right()


def test_a_number_and_the_same_text_as_id_are_one_request_and_null_is_like_absence():
    same = [
        b'{"request_id": 777, "images": ["a"]}',
        b'{"request_id": "777", "images": ["a"]}',
        b'{"request_id": "777", "images": ["a"], "configure": null}',
        b'{"request_id": "777", "images": ["a"], "configure": {}}',
        b'{"request_id": "777", "images": ["a"], "configure": {"face_reconize": null}, "x": null}',
    ]
    assert len({parse(text).sha256 for text in same}) == 1
    other = [b'{"request_id": 777, "images": ["a", null]}', b'{"request_id": 777, "images": []}']
    assert len({parse(text).sha256 for text in [*same, *other]}) == 3


CHECK = '{"request_id": "1", "images": ["a"]%s}'
TRAIN = '{"request_id": "1", "images": ["a"], "configure": {"user_id": "ann"%s}}'
GENERATE = '{"request_id": "1", "template_image": "a", "configure": {%s}}'
ONE_REQUEST = {
    "check": [CHECK % end for end in ("", ', "configure": {"face_reconize": false}', ', "configure": {"sex": null}')],
    "train": [
        TRAIN % end
        for end in ("", ', "sex": "secret"', ', "max_train_steps": 400, "val_save_checkpointing_steps": null')
    ],
    "generate": [
        GENERATE % knobs
        for knobs in (
            '"user_id": "ann", "more_like_me": 1',
            '"user_id": ["ann"], "more_like_me": 1.0',
            '"model_id": "ann", "more_like_me": 1, "first_denoising_strength": 0.45, "additional_prompt": ""',
            '"user_id": null, "model_id": ["ann"], "more_like_me": 1e0, "seed": null, "makeup_transfer": false',
        )
    ],
}
OTHER_REQUESTS = {
    "check": [CHECK % f', "configure": {{"face_reconize": {value}}}' for value in ("true", "0", '"false"', "[null]")],
    "train": [
        TRAIN % end
        for end in (', "max_train_steps": 400.0', ', "max_train_steps": 401', ', "sex": ""', ', "model_id": "bob"')
    ]
    + [TRAIN.replace("user_id", "model_id") % "", TRAIN.replace('"ann"', '["ann"]') % ""],
    "generate": [
        GENERATE % knobs
        for knobs in (
            '"user_id": "ann"',
            '"user_id": ["ann", "bob"], "more_like_me": 1',
            '"user_id": "ann", "more_like_me": true',
            '"user_id": "ann", "more_like_me": 1, "seed": 0',
            '"user_id": "bob", "model_id": "ann", "more_like_me": 1',
        )
    ],
}


@pytest.mark.parametrize("function", ONE_REQUEST)
def test_bodies_that_ask_for_the_same_are_one_request_and_no_others_are(function):
    assert len({parse(text.encode()).sha256 for text in ONE_REQUEST[function]}) == 1
    others = {parse(text.encode()).sha256 for text in OTHER_REQUESTS[function]}
    assert len(others) == len(OTHER_REQUESTS[function])
    assert parse(ONE_REQUEST[function][0].encode()).sha256 not in others


@pytest.mark.parametrize(
    ("spellings", "others"),
    [
        (
            [
                '"references": ["a"]', '"references": "a"', '"references": [["a"]]',
                '"references": ["a"], "user_id": [null]', '"references": ["a"], "user_id": null',
            ],
            ['"references": ["b"]', '"references": ["a"], "user_id": "ann"', '"references": [["a"], ["a"]]'],
        ),
        (
            ['"user_id": "ann"', '"user_id": "ann", "references": []', '"user_id": ["ann"], "references": [null]'],
            ['"user_id": "ann", "references": ["a"]'],
        ),
        (
            [
                '"user_id": [null, "ann"], "references": [["a"], null]',
                '"model_id": [null, "ann"], "references": [["a"], []]',
            ],
            ['"user_id": ["ann", null], "references": [null, ["a"]]', '"references": [["a"], ["ann"]]'],
        ),
    ],
)  # fmt: skip
def test_references_that_say_the_same_are_one_request_however_they_are_listed(spellings, others):
    assert len({parse((GENERATE % one).encode()).sha256 for one in spellings}) == 1
    hashes = [parse((GENERATE % one).encode()).sha256 for one in (spellings[0], *others)]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("configure", [CheckConfigure, TrainConfigure, GenerateConfigure])
def test_the_defaults_by_which_bodies_are_compared_are_those_that_they_are_served_by(configure):
    fields = {name: field for name, field in configure.model_fields.items() if not field.is_required()}
    assert {name: DEFAULTS.get(name) for name in fields} == {name: field.default for name, field in fields.items()}
    assert all(type(DEFAULTS[name]) is type(field.default) for name, field in fields.items() if name in DEFAULTS)


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (b"true", "not true or false"),
        (b"777.0", "not a number with a fraction"),
        (b"1e3", "not a number with a fraction"),
        (b"[1]", "not a list"),
        (b"{}", "not an object"),
        (b"null", "no request_id"),
        (b"1" * 129, "1 to 128"),
        (b"1" * 5000, "a number of 5000 digits"),
    ],
)
def test_an_id_that_is_neither_text_nor_whole_number_is_refused_in_plain_words(identity, said):
    with pytest.raises(InvalidManifest, match=said):
        parse(b'{"request_id": ' + identity + b', "images": ["a"]}')


def test_a_large_whole_number_is_an_id_to_its_last_digit():
    assert parse(b'{"request_id": 123456789012345678901234567890}').request_id == "123456789012345678901234567890"


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('{"request_id": "a", "request_id": "b"}', ["request_id"]),
        ('{"request_id": "b", "c": {"seed": 1, "seed": 7}}', ["c.seed"]),
        ('{"request_id": "b", "x": [{"y": {}}, {"y": {"z": 1, "z": 1}}]}', ["x.1.y.z"]),
        ('{"request_id": "b", "c": {"seed": 1, "seed": 7}, "c": {}}', ["c"]),
        ('{"request_id": "b", "https://u:hunter2@h/": 1, "https://u:hunter2@h/": 2}', ["[20 characters]"]),
        ('{"request_id": "b", "c": {"seed": 1}}', []),
    ],
)
def test_a_member_that_stands_twice_is_told_at_any_depth_in_json_and_in_the_samples_text(text, paths):
    told = [f"{path} appears more than once in the manifest; the last value is used" for path in paths]
    for spelled in (text, text.replace('"', "'")):
        manifest = parse(spelled.encode())
        assert manifest.request_id == "b"
        assert list(manifest.warnings) == told
    assert manifest.add_warnings({"warnings": ["other"]})["warnings"] == [*told, "other"]


def test_members_that_stand_twice_are_told_within_bounds():
    text = json.dumps({"request_id": "a"})[:-1] + "".join(f', "k{n}": 1, "k{n}": 2' for n in range(500)) + "}"
    warnings = parse(text.encode()).warnings
    assert len(warnings) == 21
    assert warnings[-1] == "and 480 more like these"


@given(st.dictionaries(st.text(), st.recursive(st.integers() | st.text() | st.booleans() | st.none(), st.lists)))
def test_the_beginning_of_an_object_is_never_a_whole_one(body):
    text = json.dumps(body | {"request_id": 1}).encode()
    assert parse(text).request_id == "1"
    for end in range(0, len(text), max(1, len(text) // 20)):
        with pytest.raises(InvalidManifest):
            parse(text[:end])


def test_what_reading_may_cost_is_bounded():
    deep = b'{"request_id": "a", "x": ' + b"[" * 63 + b"]" * 63 + b"}"
    assert parse(deep)
    hostile = [
        (b'{"request_id": "a", "x": ' + b"[" * 64 + b"]" * 64 + b"}", "deeper than 64"),
        (b'{"request_id": "a", "x": ' + b'{"a":' * 64 + b"1" + b"}" * 65, "deeper than 64"),
        (b'{"request_id": "a", "x": [' + b"0," * 100_000 + b"0]}", "more than 100000 values"),
        (b'{"request_id": "a", "x": [' + b"[[[[]]]]," * 25_000 + b"0]}", "more than 100000 values"),
        (b"{'request_id': 'r1', 'images': [" + b"0," * 9_000_000 + b"]}", "more than 100000 values"),
        (b"{'request_id': 'r1', 'x': '" + b"x" * 70_000 + b"'}", "65536 characters"),
        (b"{'request_id': " + b"-" * 60_000 + b"1}", "not JSON"),
        (b"{'request_id': " + b"(" * 30_000 + b")" * 30_000 + b"}", "not JSON"),
        (b"{'request_id': " + b"1+" * 30_000 + b"1j}", "not JSON"),
        (b'{"request_id": "a", "x": 1e999}', "too large"),
        (b'{"request_id": "a", "x": "\\ud800"}', "surrogate"),
        (b'{"request_id": "a", "\\udfff": 1}', "surrogate"),
        (b'{"request_id": "invalid-0123456789ab"}', "must not be invalid-"),
    ]
    for text, said in hostile:
        with pytest.raises(InvalidManifest, match=said):
            parse(text)
    assert parse(b'{"request_id": "a", "x": "\\ud83d\\ude00"}').body["x"] == "\N{GRINNING FACE}"


@pytest.mark.parametrize("user_id", [".", "..", "", "a/b", "a\n", "x" * 65])
def test_a_user_id_that_could_be_no_folder_is_refused(user_id):
    with pytest.raises(InvalidField, match="user_id"):
        validate(_Named, {"user_id": user_id})
    configure = {"user_id": user_id}
    for model, body in ((TrainRequest, {"images": ["a"]}), (GenerateRequest, {"template_image": "t"})):
        with pytest.raises(InvalidField, match=r"^configure\.user_id.*1 to 64 of A-Z"):
            validate(model, {"request_id": "r", "configure": configure} | body)
    with pytest.raises(InvalidKey):
        Erasure(MemoryBucket(), Lease()).forget(user_id)


@pytest.mark.parametrize("user_id", ["a", "...", ".a", "a.", "..a", "x" * 64])
def test_other_user_ids_are_names(user_id):
    assert validate(_Named, {"user_id": user_id})[0].user_id == user_id


@pytest.mark.parametrize("model", [CheckRequest, TrainRequest, GenerateRequest])
@pytest.mark.parametrize("configure", [[], "x", 1, True, {"user_id": {}}, {"user_id": [None]}, {"user_id": ".."}])
def test_no_message_names_what_only_our_code_knows(model, configure):
    body = {"request_id": "r", "images": ["a"], "template_image": "t", "configure": configure}
    if model is CheckRequest and isinstance(configure, dict):
        body["configure"] = {"face_reconize": configure}
    with pytest.raises(InvalidField) as refused:
        validate(model, body)
    assert refused.value.message.startswith("configure")
    assert not re.search(r"instance of|dictionary|Configure|Request\b|Value error|None|True", refused.value.message)


@pytest.mark.parametrize("model", [CheckRequest, TrainRequest, GenerateRequest])
def test_null_is_like_absence_wherever_it_stands(model):
    whole = {"request_id": "r", "images": ["a"], "template_image": "t", "configure": {"user_id": "ann"}}
    nulls = whole | {"x": None, "configure": {"user_id": "ann", **dict.fromkeys(KNOBS)}}
    request, warnings = validate(model, nulls)
    assert request.configure.model_dump(exclude={"user_id"}) == validate(model, whole)[0].configure.model_dump(
        exclude={"user_id"}
    )
    assert not [warning for warning in warnings if "seed" in warning or "x" in warning.split()]
    with pytest.raises(InvalidField, match=r"(images|template_image): Field required$"):
        validate(model, whole | {"images": None, "template_image": None})


def test_a_configure_of_null_is_one_that_is_not_there():
    assert (
        validate(CheckRequest, {"request_id": "r", "images": ["a"], "configure": None})[0].configure.face_reconize
        is False
    )
    with pytest.raises(InvalidField, match=r"^configure: Field required$"):
        validate(TrainRequest, {"request_id": "r", "images": ["a"], "configure": None})


def test_a_model_id_counts_where_the_user_id_is_null():
    body = {"request_id": "r", "template_image": "t", "configure": {"user_id": None, "model_id": "ann"}}
    assert validate(GenerateRequest, body)[0].configure.user_id == ["ann"]


def test_warnings_are_counted_and_cut():
    body = {"user_id": "u"} | {f"key{number}" + "x" * 1000: 1 for number in range(5000)}
    _, warnings = validate(_Named, body)
    assert len(warnings) == 21
    assert warnings[-1] == "and 4980 more like these"
    assert max(map(len, warnings)) <= 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": ["https://u:hunter2@h/x?sig=hunter2"]},
        {"user_id": "https://u:hunter2@h/x?sig=hunter2"},
        {"user_id": "sig=hunter2"},
        {"user_id": {"Authorization": "Bearer hunter2"}},
        {"user": "https://u:hunter2@h/x"},
    ],
)
def test_an_error_does_not_repeat_what_may_be_a_secret(wrong):
    with pytest.raises(InvalidField) as raised:
        validate(_Named, wrong)
    assert raised.value.message.startswith("user_id: ")
    assert "hunter2" not in raised.value.message + str(raised.value.field)


def test_an_error_says_what_was_given_where_it_is_a_number_or_a_word():
    for value, shown in ((7, "7"), (True, "true"), ([1, 2], "a list of 2"), ("..", "'..'"), ("a b", "a text of 3")):
        with pytest.raises(InvalidField, match=f"given was {re.escape(shown)}"):
            validate(_Named, {"user_id": value})
    with pytest.raises(InvalidField, match=r"^user_id: Field required$"):
        validate(_Named, {})


def test_a_warning_does_not_repeat_a_key_that_may_be_a_secret():
    _, warnings = validate(_Named, {"user_id": "u", "https://u:hunter2@h/x": 1, "color": 2})
    assert warnings == ["unknown key [21 characters] was ignored", "unknown key color was ignored"]


def test_an_echo_is_without_secrets_at_any_depth():
    url = "https://u:hunter2@h.example/x?sig=hunter2&w=8"
    repeated, _ = echo({"configure": {url: [url, {"a": url}], "password": "hunter2", "sex": "secret", "n": 1.5}})
    clean = "https://h.example/x?sig=...&w=8"
    secret = {"password": "[redacted]"}
    assert repeated == {"configure": {clean: [clean, {"a": clean}], "sex": "secret", "n": 1.5} | secret}


def test_an_echo_is_whole_or_says_that_it_is_not():
    small = {"images": ["a.jpg"], "configure": {"x": [1, {"y": 2}]}}
    assert echo(small) == (small, [])
    cut, warnings = echo({"images": ["data:," + "x" * 10_000_000, "b.jpg"], "configure": {"x": ["y"] * 90_000}})
    assert cut["images"][1] == "b.jpg"
    assert len(cut["images"][0]) == 100
    assert cut["configure"] is None
    assert len(warnings) == 1


class _Named(Body):
    user_id: UserId
