"""Manifests that mean harm: nesting, numbers, strings, ids, keys, addresses and Python source of every kind and size.

`corpus(size)` makes each one's bytes only when they are asked for, and those that are about size of about `size` bytes:
a hundred thousand for a quick look, 20 million for what a sender may really put.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SURROGATE = b"\\ud800"


@dataclass(frozen=True)
class Hostile:
    """One manifest.

    Attributes:
        function: whose request it is.
        name: says what it tries; unique.
        make: its bytes.
        sized: whether it grows with the corpus' size.
        expected: `OK`, or the error type of its answer; None where several are right.
    """

    function: str
    name: str
    make: Callable[[], bytes]
    sized: bool = False
    expected: str | None = None


def corpus(size: int) -> list[Hostile]:
    """All of them; names are unique within a function."""
    found = [
        *_nesting(size),
        *_bulk(size),
        *_numbers(size),
        *_surrogates(),
        *_encodings(),
        *_shapes(),
        *_request_ids(),
        *_user_ids(),
        *_references(),
        *_people(),
        *_literals(),
        *_sized_literals(size),
    ]
    names = [(one.function, one.name) for one in found]
    twice = {one for one in names if names.count(one) > 1}
    assert not twice, f"two cases of one name: {twice}"
    return found


def _check(extra: bytes, request_id: bytes = b'"r1"') -> bytes:
    return b'{"request_id":' + request_id + b',"images":["a"]' + (b"," if extra else b"") + extra + b"}"


def _generate(configure: bytes, template: bytes = b'"t"') -> bytes:
    return b'{"request_id":"r1","template_image":' + template + b',"configure":{"user_id":"u",' + configure + b"}}"


def _dumped(body: object) -> bytes:
    return json.dumps(body).encode()


def _fixed(function: str, name: str, data: bytes, expected: str | None = None) -> Hostile:
    return Hostile(function, name, lambda: data, False, expected)


def _sized(name: str, make: Callable[[], bytes], expected: str | None = None, function: str = "check") -> Hostile:
    return Hostile(function, name, make, True, expected)


def _nesting(size: int) -> Iterator[Hostile]:
    for depth in (10, 60, 62):
        yield _fixed("check", f"{depth} lists", _check(b'"x":' + b"[" * depth + b"]" * depth), "OK")
    for depth in (65, 100, 190, 400, 950, 960, 970, 975, 980, 985, 990, 995, 1000, 2000, 50_000):
        yield _fixed("check", f"{depth} lists", _check(b'"x":' + b"[" * depth + b"]" * depth), "InvalidManifest")
    for depth in (65, 100, 200, 300, 900, 980, 10_000):
        nested = b'"configure":' + b'{"a":' * depth + b"1" + b"}" * depth
        yield _fixed("check", f"{depth} objects in configure", _check(nested), "InvalidManifest")
        yield _fixed(
            "check", f"{depth} lists in images", b'{"request_id":"r1","images":' + b"[" * depth + b"]" * depth + b"}"
        )
    yield _sized("lists without end", lambda: b'{"a":' + b"[" * size, "InvalidManifest")
    yield _sized("objects without end", lambda: b'{"a":' * (size // 5), "InvalidManifest")
    yield _sized(
        "many lists that are closed",
        lambda: _check(b'"x":' + b"[" * (size // 2) + b"]" * (size // 2)),
        "InvalidManifest",
    )
    wide = b"[" * 50 + b"]" * 50
    yield _sized(
        "a thousand deep lists", lambda: _check(b'"x":[' + b",".join([wide] * min(1000, size // 101)) + b"]"), "OK"
    )


def _bulk(size: int) -> Iterator[Hostile]:
    yield _sized(
        "images without end", lambda: b'{"request_id":"r1","images":[' + b",".join([b'"a"'] * (size // 4)) + b"]}"
    )
    values = min(99_000, size // 2)
    yield _sized("as many values as are allowed", lambda: _check(b'"x":[' + b",".join([b"1"] * values) + b"]"), "OK")
    yield _sized(
        "as many objects", lambda: _check(b'"x":[' + b",".join([b'{"":{}}'] * min(33_000, size // 8)) + b"]"), "OK"
    )
    yield _sized("one long reference", lambda: b'{"request_id":"r1","images":["' + b"a" * size + b'"]}', "OK")
    yield _sized("a long unknown key", lambda: _check(b'"' + b"k" * size + b'":1'), "OK")
    yield _sized("a long unknown value", lambda: _check(b'"x":"' + b"a" * size + b'"'), "OK")
    yield _sized("a long unknown knob", lambda: _check(b'"configure":{"x":"' + b"a" * size + b'"}'), "OK")
    yield _sized(
        "a long value of a knob",
        lambda: _check(b'"configure":{"face_reconize":"' + b"a" * size + b'"}'),
        "InvalidField",
    )
    yield _sized("a long name of a knob", lambda: _check(b'"configure":{"' + b"k" * size + b'":1}'), "OK")
    yield _sized("unknown keys without end", lambda: _check(b",".join(b'"%d":1' % i for i in range(size // 12))))
    yield _sized(
        "unknown knobs without end",
        lambda: _check(b'"configure":{' + b",".join(b'"%d":1' % i for i in range(size // 12)) + b"}"),
    )
    yield _sized(
        "knobs of long names",
        lambda: _check(b'"configure":{' + b",".join(b'"%d%s":1' % (i, b"k" * 150) for i in range(size // 160)) + b"}"),
    )
    yield _sized("more than is allowed", lambda: _check(b'"x":"' + b"a" * 21_000_000 + b'"'), "ManifestTooLarge")
    yield _sized("white space", lambda: _check(b'"x":1' + b" " * size), "OK")
    yield _sized("escapes", lambda: _check(b'"x":"' + b"\\u0041" * (size // 6) + b'"'), "OK")
    yield _sized("pairs of surrogates", lambda: _check(b'"x":"' + b"\\ud83d\\ude00" * (size // 12) + b'"'), "OK")
    yield _sized("characters of four bytes", lambda: _check(b'"x":"' + "😀".encode() * (size // 4) + b'"'), "OK")
    yield _sized("quotes", lambda: b'"' * size, "InvalidManifest")
    yield _sized("backslashes", lambda: b'{"a":"' + b"\\" * size, "InvalidManifest")
    yield _sized("zero bytes", lambda: b"\0" * size, "InvalidManifest")
    yield _sized(
        "a long data URL",
        lambda: _dumped({"request_id": "r1", "images": ["data:;base64," + "%41" * (size // 3)]}),
        "OK",
    )
    yield _sized(
        "a long data URL of text",
        lambda: _dumped({"request_id": "r1", "images": ["data:," + "%41" * (size // 3)]}),
        "OK",
    )
    yield _sized("a long URL", lambda: _dumped({"request_id": "r1", "images": ["http://" + "a" * size + "/"]}), "OK")
    yield _sized("a long query", lambda: _dumped({"request_id": "r1", "images": ["http://h/?" + "a" * size]}), "OK")
    yield _sized("a long prompt", lambda: _generate(b'"additional_prompt":"' + b"a" * size + b'"'), function="generate")
    yield _sized("a long template", lambda: _generate(b'"seed":1', b'"' + b"t" * size + b'"'), function="generate")
    yield _sized(
        "user ids without end",
        lambda: _dumped({"request_id": "r1", "template_image": "t", "configure": {"user_id": ["u"] * (size // 5)}}),
        function="generate",
    )
    yield _sized(
        "a long user id",
        lambda: _dumped({"request_id": "r1", "template_image": "t", "configure": {"user_id": "u" * size}}),
        "InvalidField",
        "generate",
    )
    yield _sized(
        "photos without end",
        lambda: _dumped({"request_id": "r1", "images": ["a"] * (size // 5), "configure": {"user_id": "u"}}),
        function="train",
    )
    yield _sized(
        "references without end",
        lambda: _dumped({"request_id": "r1", "template_image": "t", "configure": {"references": ["a"] * (size // 5)}}),
        function="generate",
    )
    yield _sized(
        "twenty long references",
        lambda: _dumped(
            {"request_id": "r1", "template_image": "data:,x", "configure": {"references": ["a" * (size // 24)] * 20}}
        ),
        function="generate",
    )
    yield _sized(
        "fifty long photos",
        lambda: _dumped({"request_id": "r1", "images": ["a" * (size // 60)] * 50, "configure": {"user_id": "u"}}),
        function="train",
    )


def _numbers(size: int) -> Iterator[Hostile]:
    unreadable = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000)
    for value in (*unreadable, b"1e-999", b"9" * 4000, b"-0", b"-0.0", b"1e308", b"0.1e1", b"9007199254740993"):
        shown = value[:9].decode() + ("..." if len(value) > 20 else "") + str(len(value))
        refused = "InvalidManifest" if value in unreadable else None
        yield _fixed("check", f"{shown} as a value", _check(b'"x":' + value), refused or "OK")
        yield _fixed("check", f"{shown} as a knob", _check(b'"configure":{"x":' + value + b"}"), refused or "OK")
        yield _fixed("check", f"{shown} as id", _check(b"", value), refused)
        yield _fixed("generate", f"{shown} as share", _generate(b'"more_like_me":' + value), refused)
        yield _fixed("generate", f"{shown} as seed", _generate(b'"seed":' + value), refused)
        yield _fixed(
            "train",
            f"{shown} as steps",
            b'{"request_id":"r1","images":["a"],"configure":{"user_id":"u","max_train_steps":' + value + b"}}",
            refused,
        )
    counts: tuple[object, ...] = (0, -1, 10**30, 1.0, 1e3, True, None, "1", [], {})
    for steps in counts:
        yield _fixed(
            "generate",
            f"{steps!r} steps",
            _generate(b'"first_diffusion_steps":' + _dumped(steps)),
            "InvalidField" if steps not in (1, None) else None,
        )
    yield _sized("one long number", lambda: _check(b'"x":' + b"9" * size), "InvalidManifest")
    yield _sized("one long fraction", lambda: _check(b'"x":0.' + b"9" * size), "OK")
    yield _sized("one long exponent", lambda: _check(b'"x":1e' + b"9" * min(size, 4000)), "InvalidManifest")
    yield _sized("one small exponent", lambda: _check(b'"x":1e-' + b"9" * min(size, 4000)), "OK")


def _surrogates() -> Iterator[Hostile]:
    bodies = {
        "an image": b'{"request_id":"r1","images":["a%s"]}',
        "the id": b'{"request_id":"r1%s","images":["a"]}',
        "an unknown key": b'{"request_id":"r1","images":["a"],"%s":1}',
        "an unknown value": b'{"request_id":"r1","images":["a"],"x":["%s"]}',
        "a knob's name": b'{"request_id":"r1","images":["a"],"configure":{"%s":1}}',
        "a knob": b'{"request_id":"r1","images":["a"],"configure":{"x":"%s"}}',
    }
    templates = {
        "a template": b'{"request_id":"r1","template_image":"t%s","configure":{"user_id":"u"}}',
        "a user": b'{"request_id":"r1","template_image":"t","configure":{"user_id":"u%s"}}',
        "users": b'{"request_id":"r1","template_image":"t","configure":{"user_id":["u%s"]}}',
        "a prompt": b'{"request_id":"r1","template_image":"t","configure":{"user_id":"u","additional_prompt":"%s"}}',
    }
    for half in (SURROGATE, b"\\udfff", b"\\uDc00\\uD800"):
        for where, body in bodies.items():
            yield _fixed("check", f"{half.decode()} in {where}", body % half, "InvalidManifest")
        for where, body in templates.items():
            yield _fixed("generate", f"{half.decode()} in {where}", body % half, "InvalidManifest")
    yield _fixed("check", "a surrogate in Python", b"{'request_id':'r1','images':['a\\ud800']}", "InvalidManifest")
    yield _fixed("check", "a surrogate as UTF-8", b'{"request_id":"r1","images":["\xed\xa0\x80"]}', "InvalidManifest")


def _encodings() -> Iterator[Hostile]:
    plain = _dumped({"request_id": "r1", "images": ["a.jpg"]})
    yield _fixed("check", "a byte order mark", b"\xef\xbb\xbf" + plain, "OK")
    yield _fixed("check", "two byte order marks", b"\xef\xbb\xbf" * 2 + plain, "OK")
    for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7"):
        yield _fixed("check", name, plain.decode().encode(name), "OK")
    for name, mark in (("utf-16-be", b"\xfe\xff"), ("utf-32-be", b"\0\0\xfe\xff"), ("utf-8", b"\xff\xfe")):
        fit = "InvalidManifest" if name == "utf-8" else "OK"
        yield _fixed("check", f"{name} behind {mark!r}", mark + plain.decode().encode(name), fit)
    yield _fixed("check", "latin 1", b'{"request_id":"r1","images":["\xe9"]}', "InvalidManifest")
    yield _fixed("check", "overlong UTF-8", b'{"request_id":"r1","images":["\xc0\xaf"]}', "InvalidManifest")
    yield _fixed("check", "a zero byte", b'{"request_id":"r1","images":["a\0b"]}', "InvalidManifest")
    yield _fixed("check", "an escaped zero", b'{"request_id":"r1","images":["a\\u0000b"]}', "OK")
    yield _fixed("generate", "an escaped zero", _generate(b'"seed":1', b'"a\\u0000b"'), "PhotoUnavailable")
    yield _fixed("generate", "a zero in a host", _generate(b'"seed":1', b'"http://a\\u0000b/"'), "PhotoUnavailable")
    yield _fixed("check", "gzip", b"\x1f\x8b\x08\0" + plain, "InvalidManifest")


def _shapes() -> Iterator[Hostile]:
    texts: dict[str, tuple[bytes, str]] = {
        "a list": (b"[1]", "InvalidManifest"),
        "a string": (b'"x"', "InvalidManifest"),
        "null": (b"null", "InvalidManifest"),
        "a number": (b"1", "InvalidManifest"),
        "an empty object": (b"{}", "InvalidManifest"),
        "space": (b"   ", "InvalidManifest"),
        "a trailing comma": (b'{"request_id":"r1","images":["a"],}', "OK"),  # a Python literal
        "two objects": (b'{"request_id":"r1"}{"request_id":"r2"}', "InvalidManifest"),
        "one id twice": (b'{"request_id":"r1","request_id":"r2","images":["a"]}', "OK"),
        "no images": (b'{"request_id":"r1"}', "InvalidField"),
        "an unclosed string": (b'{"request_id":"r1', "InvalidManifest"),
    }
    for name, (text, expected) in texts.items():
        yield _fixed("check", name, text, expected)
    odd_lists: tuple[Any, ...] = ([["a"]], [1], [None], [""], ["a"] * 21, ["a"] * 10_000, [{"a": "b"}])
    for value in ([], "a", None, {}, {"0": "a"}, *odd_lists):
        shown = f"{value!r:.20} images"
        yield _fixed(
            "check",
            shown if len(str(value)) < 200 else f"{len(value)} images",
            _dumped({"request_id": "r1", "images": value}),
            "InvalidField",
        )
    knobs: tuple[object, ...] = ({"face_reconize": 1}, {"face_reconize": "true"}, {"face_reconize": None})
    for configure in ([], "x", 1, None, True, *knobs):
        yield _fixed(
            "check",
            f"configure {configure!r}",
            _dumped({"request_id": "r1", "images": ["a"], "configure": configure}),
            "OK" if configure in (None, {"face_reconize": None}) else "InvalidField",
        )
    for name in (
        "__class__",
        "__proto__",
        "constructor",
        "model_config",
        "model_fields",
        "model_extra",
        "self",
        "configure.x",
        "$where",
        "\u202e",
        "a\nb",
    ):
        yield _fixed("check", f"a key {name!r}", _dumped({"request_id": "r1", "images": ["a"], name: {"a": 1}}), "OK")
        yield _fixed(
            "check", f"a knob {name!r}", _dumped({"request_id": "r1", "images": ["a"], "configure": {name: [1]}}), "OK"
        )
    steps = {"user_id": "u", "max_train_steps": 10_000, "val_save_checkpointing_steps": 1}
    yield _fixed(
        "train", "a checkpoint at every step", _dumped({"request_id": "r1", "images": ["a"] * 5, "configure": steps})
    )


def _request_ids() -> Iterator[Hostile]:
    refused = (
        "../x", "/etc/passwd", "a/../../b", "..", ".", ".a", "a\\b", "\u2025/x", "\uff0e\uff0e", "a" * 129,
        "a" * 100_000, "", "a\n", "a\0", "%2e%2e", "invalid-0123456789ab", "é", "a b", "a/b", "\u202ea", "\x1b[2K",
    )  # fmt: skip
    for identity in refused:
        yield _fixed(
            "check",
            f"id {identity[:20]!r} {len(identity)}",
            _dumped({"request_id": identity, "images": ["a"]}),
            "InvalidManifest",
        )
    for identity in (
        "a" * 128,
        "CON",
        "a..b",
        "-",
        "--help",
        "result.json",
        "a.json",
        "-1",
        "000001.json",
        "conflict-0",
    ):
        yield _fixed(
            "check", f"id {identity[:20]!r} {len(identity)}", _dumped({"request_id": identity, "images": ["a"]}), "OK"
        )
    odd: tuple[object, ...] = (True, None, 1.0, 1e3, [], {}, ["r1"], 10**128)
    for number in odd:
        yield _fixed(
            "check",
            f"id {str(number)[:12]} {len(str(number))}",
            _dumped({"request_id": number, "images": ["a"]}),
            "InvalidManifest",
        )
    for whole in (0, -1, 10**127):
        yield _fixed(
            "check", f"id {str(whole)[:12]} {len(str(whole))}", _dumped({"request_id": whole, "images": ["a"]}), "OK"
        )


def _user_ids() -> Iterator[Hostile]:
    refused = ("../x", "/x", "..", ".", "a/../../b", "a\\b", "a" * 65, "\u2025", "a\n", "", "a b", "é", "a\0")
    for user in refused:
        yield _train(user, "InvalidField")
        yield _portrait(user, "InvalidField")
    yield _train("none", "InvalidField")
    for user in ("...", "a" * 64, "model.json", "-", "a..b", "..a"):
        yield _train(user, None)
        yield _portrait(user, None)


def _train(user: str, expected: str | None) -> Hostile:
    body = {"request_id": "r1", "images": ["a"] * 5, "configure": {"user_id": user}}
    return _fixed("train", f"user {user[:20]!r} {len(user)}", _dumped(body), expected)


def _portrait(user: str, expected: str | None) -> Hostile:
    body = {"request_id": "r1", "template_image": "data:,x", "configure": {"user_id": user}}
    return _fixed("generate", f"user {user[:20]!r} {len(user)}", _dumped(body), expected)


def _references() -> Iterator[Hostile]:
    keys = (
        "../x", "/etc/passwd", "a/../../etc/passwd", "a//b", "./a", "a/./b", "a/", ".photog/x", ".photog", "..\\x",
        "\u2025/\u2025/etc/passwd", "%2e%2e/x", "a" * 300, "a/" * 600 + "a", "a" * 100_000, " ", "\n", "\x7f",
        "requests/check/m.json", "claims/check/r1/000001.json", "results", "requests/check/m.json/x", "users", "\u202e",
        "file:///etc/passwd", "FILE:/etc/passwd", "file:/etc/passwd", "\tfile:///etc/passwd", "gopher://x", "ftp://x",
        "javascript:alert(1)", "s3://other/k", "s3://", "s3:///", "oss://", "s3://../x", "data:", "data:,",
        "data:;base64", "data:;base64,!!!", "data:image/png;base64,AAAA", "http://", "http:", "http:///x", "http://[::1",
        "https://", "http://a:99999/", "http://a:-1/", "http://a b/", "HTTP://127.0.0.1/", "http://\u2460\u2461\u2466.0.0.1/",
        "http://a\r\nHost: b/", "http://bob:hunter2@h/a.jpg", "https://h/a.jpg?X-Amz-Signature=hunter2",
        "http://bob:hunter2@127.0.0.1/", "http://xn--/", "http://" + "a." * 500 + "b/", "http://0x7f.1/", "http://[fe80::1%25lo]/",
    )  # fmt: skip
    for key in keys:
        shown = f"picture {key[:26]!r} {len(key)}"
        yield _fixed("check", shown, _dumped({"request_id": "r1", "images": [key]}), "OK")
        yield _fixed(
            "generate", shown, _dumped({"request_id": "r1", "template_image": key, "configure": {"user_id": "u"}})
        )
        body = {"request_id": "r1", "template_image": "data:,x", "configure": {"references": [key]}}
        yield _fixed("generate", f"reference {shown}", _dumped(body))


def _people() -> Iterator[Hostile]:
    """References in place of users, and beside them."""
    refused: list[object] = [
        7, True, 1.5, {}, {"a": "b"}, [7], [[7]], [["a"], "b"], [[["a"]]], ["a", None], "", [""], [[""]], ["a"] * 21,
        [["a"] * 21], [["a"] * 20] * 6, [["a"]] * 65, [], [[]], [None], [["a"], []],
    ]  # fmt: skip
    for number, references in enumerate(refused):
        body = {"request_id": "r1", "template_image": "data:,x", "configure": {"references": references}}
        yield _fixed("generate", f"references {number} that are none", _dumped(body), "InvalidField")
    for number, user in enumerate(("none", ["u", "v"], [None, None], [], 7, "../x", {"a": 1})):
        configure = {"references": ["a"], "user_id": user}
        body = {"request_id": "r1", "template_image": "data:,x", "configure": configure}
        yield _fixed("generate", f"references beside user {number}", _dumped(body), "InvalidField")


def _literals() -> Iterator[Hostile]:
    texts: dict[str, tuple[bytes, str | None]] = {
        "as the samples": (b"{'request_id': 'r1', 'images': ['a',], 'configure': {'face_reconize': True}}", "OK"),
        "a product of strings": (b"{'request_id': 'r1', 'images': ['a'*10**9]}", "InvalidManifest"),
        "a power": (b"{'request_id': 9**9**9}", "InvalidManifest"),
        "parentheses": (b"{'request_id': " + b"(" * 5000 + b"1" + b")" * 5000 + b"}", "InvalidManifest"),
        "minus signs": (b"{'request_id': " + b"-" * 60_000 + b"1}", "InvalidManifest"),
        "60,000 lists": (b"{'request_id': " + b"[" * 30_000 + b"]" * 30_000 + b"}", "InvalidManifest"),
        "190 lists": (b"{'request_id': 'r1','images':['a'],'x':" + b"[" * 190 + b"]" * 190 + b"}", "InvalidManifest"),
        "95 lists": (b"{'request_id': 'r1','images':['a'],'x':" + b"[" * 95 + b"]" * 95 + b"}", "InvalidManifest"),
        "50 lists": (b"{'request_id': 'r1','images':['a'],'x':" + b"[" * 50 + b"]" * 50 + b"}", "OK"),
        "attributes": (b"{'request_id': a" + b".b" * 30_000 + b"}", "InvalidManifest"),
        "a sum": (b"{'request_id': " + b"1+" * 30_000 + b"1j}", "InvalidManifest"),
        "strings side by side": (b"{'request_id': " + b"'a' " * 15_000 + b"}", "InvalidManifest"),
        "a long hexadecimal": (b"{'request_id': 'r1','images':['a'],'x':0x" + b"f" * 60_000 + b"}", "InvalidManifest"),
        "an octal id": (b"{'request_id': 0o" + b"7" * 40 + b",'images':['a']}", "OK"),
        "a set": (b"{'request_id': 'r1','images':{'a'}}", "InvalidManifest"),
        "bytes": (b"{'request_id': b'r1'}", "InvalidManifest"),
        "dots": (b"{'request_id': ...}", "InvalidManifest"),
        "a call": (b"__import__('os').system('touch pwned')", "InvalidManifest"),
        "an f-string": (b"{'request_id': f'{1}'}", "InvalidManifest"),
        "a comprehension": (b"{'request_id': [x for x in ()]}", "InvalidManifest"),
        "a lambda": (b"{'request_id': (lambda: 1)()}", "InvalidManifest"),
        "a tuple": (b"{'request_id': 'r1','images':('a','b')}", "InvalidManifest"),
        "a number as key": (b"{'request_id': 'r1','images':['a'],1:2}", "InvalidManifest"),
        "a list as key": (b"{'request_id': {[]:1}}", "InvalidManifest"),
        "a zero byte": (b"{'request_id': 'r1\0'}", "InvalidManifest"),
        "a coding": (b"# -*- coding: utf-7 -*-\n{'request_id': 'r1', 'images': ['a']}", "OK"),
        "a complex number": (b"{'request_id': 'r1','images':['a'],'x':1+2j}", "InvalidManifest"),
        "infinity": (b"{'request_id': 'r1','images':['a'],'x':1e999}", "InvalidManifest"),
        "odd escapes": (b"{'request_id': 'r1','images':['\\d\\q']}", "OK"),
        "names of characters": (b"{'request_id': 'r1','images':['" + b"\\N{DIGIT ONE}" * 4000 + b"']}", "OK"),
        "an unknown name": (b"{'request_id': 'r1','images':['\\N{NO SUCH}']}", "InvalidManifest"),
        "a walrus": (b"{'request_id': (x := 1)}", "InvalidManifest"),
        "await": (b"{'request_id': await x}", "InvalidManifest"),
        "comments": (b"{'request_id': 'r1'," + b"#x\n" * 15_000 + b"'images':['a']}", "OK"),
        "brackets of all kinds": (b"([{" * 20_000, "InvalidManifest"),
        "comparisons": (b"{'request_id': 1" + b"<1" * 20_000 + b"}", "InvalidManifest"),
        "conditions": (b"{'request_id': " + b"1 if 1 else " * 5000 + b"1}", "InvalidManifest"),
        "not not": (b"{'request_id': " + b"not " * 15_000 + b"1}", "InvalidManifest"),
    }
    for name, (text, expected) in texts.items():
        yield _fixed("check", f"Python: {name}", text, expected)


def _sized_literals(size: int) -> Iterator[Hostile]:
    large = max(size, 70_000)  # above what a literal may have
    makers: dict[str, Callable[[], bytes]] = {
        "strings": lambda: b"{'request_id': 'r1','images':[" + b"'a'," * (large // 4) + b"]}",
        "escaped letters": lambda: b"{'request_id': 'r1','images':['" + b"\\x41" * (large // 4) + b"']}",
        "named letters": lambda: b"{'request_id': 'r1','images':['" + b"\\N{DIGIT ONE}" * (large // 13) + b"']}",
        "a hexadecimal": lambda: b"{'request_id': 'r1','x':0x" + b"f" * large + b"}",
        "a decimal": lambda: b"{'request_id': 'r1','x':" + b"9" * large + b",}",
        "a long sum": lambda: b"{'request_id': " + b"1+" * (large // 2) + b"1j}",
        "a long minus": lambda: b"{'request_id': " + b"-" * large + b"1}",
        "lines": lambda: b"{'request_id': 'r1','images':['a']," + b"\n" * large + b"}",
        "long comments": lambda: b"{'request_id': 'r1'," + b"#x\n" * (large // 3) + b"'images':['a']}",
        "open brackets": lambda: b"(" * large,
        "neighbors": lambda: b"{'request_id': " + b"'a' " * (large // 4) + b"}",
    }
    for name, make in makers.items():
        yield _sized(f"long Python: {name}", make, "InvalidManifest")
