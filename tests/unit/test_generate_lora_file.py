"""A LoRA file may hold anything; what comes of it is a LoRA that fits the base model, or an error that says why not."""

import itertools
import json
import pickle
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.generate.diffusion import lora_file
from functions.generate.diffusion.lora_cache import LoraCache, LoraError, parse_lora
from shared.models import diffusion
from shared.settings import ModelSettings
from tests.lora_files import header_of, made, tensors_of, with_header, zeros
from tests.tiny_base import make_tiny_base
from tests.trained_users import lora

METADATA = "lora_adapter_metadata"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def unet(base):
    return diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet


@pytest.fixture(scope="module")
def adapters(unet):
    return LoraCache(unet, prefix="unet")


@pytest.fixture(scope="module")
def good(base, tmp_path_factory):
    other = diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet
    return lora(other, str(tmp_path_factory.mktemp("lora")), 2, 1)


def seen(unet):
    with torch.inference_mode():
        latents, words = torch.linspace(-1, 1, 1024).reshape(1, 16, 8, 8), torch.linspace(-1, 1, 2464)
        return unet(latents, 500, encoder_hidden_states=words.reshape(1, 77, 32)).sample


@pytest.fixture(scope="module")
def bare(base):
    return seen(diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet)


NUMBERS = itertools.count()


def load(adapters, data):
    """As a request loads it; never the same object twice."""
    return adapters.lora(f"key {next(NUMBERS)}", lambda: "etag", lambda: data)


def first_pair(data):
    """Names of the two matrices of one module."""
    down = next(name for name in tensors_of(data) if name.endswith(("lora_A.weight", "lora.down.weight")))
    return down, down.replace("lora_A", "lora_B").replace(".down.", ".up.")


def changed(data, **by_part):
    """The file with one module's `down` or `up` changed by a function of type, shape and bytes; None removes it."""
    tensors, metadata = tensors_of(data), header_of(data).get("__metadata__")
    for name, part in zip(first_pair(data), ("down", "up"), strict=True):
        if part in by_part:
            change = by_part[part]
            if change is None:
                del tensors[name]
            else:
                tensors[name] = change(*tensors[name])
    return made(tensors, metadata)


def valued(value):
    return lambda dtype, shape, content: (dtype, shape, struct.pack("<f", value) + content[4:])


def saying(data, **metadata):
    return made(tensors_of(data), {METADATA: json.dumps({"unet." + name: one for name, one in metadata.items()})})


def renamed(data, old, new):
    return made({name.replace(old, new): tensor for name, tensor in tensors_of(data).items()})


def kohya(data, alpha):
    """The file as kohya writes it, with an alpha for each module."""
    tensors = {}
    for name, tensor in tensors_of(data).items():
        module, _, side = name.removeprefix("unet.").partition(".lora")
        spelled = "lora_unet_" + module.replace(".", "_")
        tensors[f"{spelled}.lora_{'down' if 'A' in side or 'down' in side else 'up'}.weight"] = tensor
        tensors[f"{spelled}.alpha"] = alpha
    return made(tensors)


FAULTS = {
    "no bytes": lambda good: b"",
    "seven bytes": lambda good: good[:7],
    "a header that the file is too short for": lambda good: good[:40],
    "a header of 3 GB": lambda good: (3 * 2**30).to_bytes(8, "little") + good[8:],
    "a header of 2^64 - 1 bytes": lambda good: b"\xff" * 8 + good[8:],
    "a header of nothing": lambda good: bytes(8) + good[8:],
    "a pickle": lambda good: pickle.dumps({"unet.a.lora_A.weight": [1.0]}),
    "a zip, as torch saves": lambda good: b"PK\x03\x04" + bytes(200),
    "a header that is no JSON": lambda good: with_header(good, b"{" + bytes(100)),
    "a header that is no text": lambda good: with_header(good, b'{"\xff\xfe": 1}'),
    "a header that is a list": lambda good: with_header(good, []),
    "a header of brackets": lambda good: with_header(good, b"[" * 100_000),
    "an empty header": lambda good: with_header(good, {}),
    "a name twice": lambda good: with_header(good, b'{"a": 1, "a": 2}'),
    "metadata that are numbers": lambda good: with_header(good, header_of(good) | {"__metadata__": {"a": 1}}),
    "metadata that are a list": lambda good: with_header(good, header_of(good) | {"__metadata__": []}),
    "a tensor that is a number": lambda good: with_header(good, header_of(good) | {"unet.a.lora_A.weight": 3}),
    "no offsets": lambda good: with_header(good, {first_pair(good)[0]: {"dtype": "F32", "shape": [2, 32]}}),
    "tensors cut off": lambda good: good[:-100],
    "bytes behind the tensors": lambda good: good + b"more",
    "a shape below nothing": lambda good: changed(good, down=lambda dtype, shape, content: (dtype, [-2, 32], content)),
    "a shape of fractions": lambda good: changed(good, down=lambda dtype, shape, content: (dtype, [2.0, 32], content)),
    "a shape of truths": lambda good: changed(good, down=lambda dtype, shape, content: (dtype, [True, 64], content)),
    "a shape beyond all memory": lambda good: changed(
        good, down=lambda dtype, shape, content: (dtype, [2**30, 2**30, 2**30, 2**30], content)
    ),
    "doubles": lambda good: changed(good, down=lambda dtype, shape, content: zeros("F64", *shape)),
    "whole numbers": lambda good: changed(good, up=lambda dtype, shape, content: zeros("I64", *shape)),
    "bytes": lambda good: changed(good, up=lambda dtype, shape, content: zeros("U8", *shape)),
    "a type that torch has and LoRAs have not": lambda good: changed(
        good, up=lambda dtype, shape, content: zeros("F8_E4M3", *shape)
    ),
    "a type that nobody has": lambda good: changed(good, up=lambda dtype, shape, content: ("F7", shape, content)),
    "no number": lambda good: changed(good, down=valued(float("nan"))),
    "infinity": lambda good: changed(good, up=valued(float("inf"))),
    "less than any number": lambda good: changed(good, up=valued(float("-inf"))),
    "rank 0": lambda good: changed(
        good,
        down=lambda dtype, shape, content: zeros(dtype, 0, shape[1]),
        up=lambda dtype, shape, content: zeros(dtype, shape[0], 0),
    ),
    "rank 10,000": lambda good: changed(
        good,
        down=lambda dtype, shape, content: zeros(dtype, 10_000, shape[1]),
        up=lambda dtype, shape, content: zeros(dtype, shape[0], 10_000),
    ),
    "two ranks": lambda good: changed(good, down=lambda dtype, shape, content: zeros(dtype, shape[0] + 1, shape[1])),
    "another width": lambda good: changed(good, down=lambda dtype, shape, content: zeros(dtype, shape[0], 7)),
    "a row": lambda good: changed(good, down=lambda dtype, shape, content: zeros(dtype, 64)),
    "a convolution's": lambda good: changed(
        good,
        down=lambda dtype, shape, content: zeros(dtype, *shape, 1, 1),
        up=lambda dtype, shape, content: zeros(dtype, *shape, 1, 1),
    ),
    "a matrix too few": lambda good: changed(good, up=None),
    "a text encoder's only": lambda good: renamed(good, "unet.", "text_encoder."),
    "a module that no UNet has": lambda good: renamed(good, "attn1", "attn9"),
    "a module of the adapter's own": lambda good: renamed(good, "to_q.lora", "to_q.base_layer.lora"),
    "names without a model": lambda good: renamed(good, "unet.", ""),
    "names of a transformer": lambda good: renamed(good, "unet.", "transformer."),
    "a tensor of something else": lambda good: made(tensors_of(good) | {"unet.conv_in.weight": zeros("F32", 2)}),
    "a bias": lambda good: made(tensors_of(good) | {"unet.conv_in.lora_B.bias": zeros("F32", 2)}),
    "a magnitude": lambda good: made(tensors_of(good) | {"unet.conv_in.lora_magnitude_vector": zeros("F32", 2)}),
    "a name of 10,000 letters": lambda good: made(tensors_of(good) | {f"unet.{'a' * 10_000}": zeros("F32", 2)}),
    "one module in two spellings": lambda good: made(
        tensors_of(good)
        | {
            name.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): one
            for name, one in tensors_of(good).items()
        }
        | {
            name.replace("lora.down", "lora_A").replace("lora.up", "lora_B"): one
            for name, one in tensors_of(good).items()
        }
    ),
    "metadata that are no JSON": lambda good: made(tensors_of(good), {METADATA: "{"}),
    "metadata that are a number": lambda good: made(tensors_of(good), {METADATA: "3"}),
    "metadata of brackets": lambda good: made(tensors_of(good), {METADATA: "[" * 100_000}),
    "alpha 0": lambda good: saying(good, lora_alpha=0),
    "alpha below 0": lambda good: saying(good, lora_alpha=-1),
    "alpha that is no number": lambda good: saying(good, lora_alpha=float("nan")),
    "alpha without end": lambda good: saying(good, lora_alpha=float("inf")),
    "alpha of 400 digits": lambda good: saying(good, lora_alpha=10**400),
    "alpha that is a word": lambda good: saying(good, lora_alpha="8"),
    "alpha that is true": lambda good: saying(good, lora_alpha=True),
    "a rank of 0 said": lambda good: saying(good, r=0),
    "another rank said": lambda good: saying(good, r=9),
    "a rank of 10,000 said": lambda good: saying(good, r=10_000),
    "ranks that are a list": lambda good: saying(good, rank_pattern=[1]),
    "a pattern that takes for ever": lambda good: saying(good, alpha_pattern={"(.*.*.*.*.*)*x": 1}),
    "an alpha of a pattern that is 0": lambda good: saying(good, alpha_pattern={"to_q": 0}),
    "DoRA": lambda good: saying(good, use_dora=True),
    "kohya's alpha 0": lambda good: kohya(good, ("F32", [], struct.pack("<f", 0.0))),
    "kohya's alpha that is no number": lambda good: kohya(good, ("F32", [], struct.pack("<f", float("nan")))),
    "two of kohya's alphas": lambda good: kohya(good, zeros("F32", 2)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_a_fault_is_refused_and_leaves_the_base_bit_for_bit(adapters, unet, good, bare, fault):
    data = FAULTS[fault](good)
    with pytest.raises(LoraError) as refused:
        load(adapters, data)
    assert 10 < len(str(refused.value)) < 600
    assert torch.equal(seen(unet), bare)


@pytest.mark.parametrize(
    "same",
    [
        lambda good: renamed(renamed(good, "lora_A", "lora.down"), "lora_B", "lora.up"),
        lambda good: kohya(good, ("F32", [], struct.pack("<f", 2.0))),
        lambda good: kohya(good, ("F32", [1], struct.pack("<f", 2.0))),
        lambda good: saying(good, r=2, lora_alpha=2, rank_pattern={}, alpha_pattern={}, use_rslora=False),
        lambda good: saying(
            good, lora_alpha=9, alpha_pattern={"to_q": 2, "to_k": 2, "to_v": 2, "^no.such": 5, "to_out.0": 2.0}
        ),
        lambda good: saying(good, lora_alpha=2**0.5, use_rslora=True),
        lambda good: made(tensors_of(good) | {"text_encoder.a.lora_A.weight": zeros("F32", 2, 2)}),
    ],
)
def test_all_spellings_of_a_lora_do_the_same(adapters, unet, good, bare, same):
    with adapters.activate([load(adapters, good)]):
        expected = seen(unet)
    with adapters.activate([load(adapters, same(good))]):
        made_of_it = seen(unet)
    assert torch.allclose(made_of_it, expected, rtol=0, atol=1e-6)
    assert not torch.allclose(expected, bare, rtol=0, atol=1e-3)


def test_the_oldest_names_of_attention_are_known_too(adapters, unet, good):
    old = {}
    for name, tensor in tensors_of(good).items():
        spelled = name.replace(".lora.", ".lora_").replace("lora_A", "lora_down").replace("lora_B", "lora_up")
        for layer in ("to_q", "to_k", "to_v", "to_out.0"):
            plain = layer.removesuffix(".0")
            spelled = spelled.replace(f".{layer}.lora_down", f".processor.{plain}_lora.down")
            spelled = spelled.replace(f".{layer}.lora_up", f".processor.{plain}_lora.up")
        old[spelled] = tensor
    assert load(adapters, made(old)).shape == load(adapters, made(tensors_of(good))).shape


def test_a_file_over_the_limit_is_refused_by_its_size_alone(monkeypatch, good):
    monkeypatch.setattr(lora_file, "MOST_BYTES", len(good) - 1)
    with pytest.raises(LoraError, match="bytes"):
        parse_lora(good)


def test_a_header_over_the_limit_is_not_parsed(monkeypatch, good):
    monkeypatch.setattr(lora_file, "MOST_HEADER", 10)
    monkeypatch.setattr(lora_file.json, "loads", None)
    with pytest.raises(LoraError, match="header"):
        parse_lora(good)


def test_values_that_the_bases_precision_cannot_hold_are_refused(base, good):
    half = diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet.half()
    with pytest.raises(LoraError, match="not finite or too large"):
        load(LoraCache(half), changed(good, down=valued(1e5)))


BYTES = st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8)), min_size=1, max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["unet.", "lora_unet_", "", "text_encoder."]).flatmap(
    lambda prefix: st.sampled_from(
        ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "conv_in", "mid_block", "a", "..", "", "é"]
    ).flatmap(
        lambda module: st.sampled_from(
            [
                ".lora_A.weight",
                ".lora_B.weight",
                ".lora.up.weight",
                ".lora_down.weight",
                ".alpha",
                ".processor.to_q_lora.up.weight",
                "",
            ]
        ).map(lambda ending: prefix + module + ending)
    )
)
DESCRIPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "I8", "F4", "C64", "", None, 3]),
        "shape": st.lists(st.integers(-2, 40) | st.sampled_from([2**31, 2**63, 2**64, 1.5, None]), max_size=5) | JSON,
        "data_offsets": st.lists(st.integers(-1, 2000) | st.sampled_from([2**63, 2**64, 1.5, None]), max_size=3) | JSON,
    },
)
SLOW: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
    "derandomize": True,
}


def harmless(adapters, unet, bare, data):
    """Loads it, and wears it where it can be; the base is the base afterwards."""
    try:
        read = load(adapters, data)
    except LoraError:
        return
    with adapters.activate([read]):
        seen(unet)
    assert torch.equal(seen(unet), bare)


@given(places=BYTES)
@settings(max_examples=60, **SLOW)
def test_any_bytes_of_a_file_may_be_others(adapters, unet, good, bare, places):
    data = bytearray(good)
    limit = 8 + int.from_bytes(good[:8], "little")
    for place, content in places:
        at = place % (limit if place % 2 else len(data))
        data[at : at + len(content)] = content
    harmless(adapters, unet, bare, bytes(data))


@given(at=st.integers(0, 10**6), removed=st.integers(0, 5000), added=st.binary(max_size=64))
@settings(max_examples=40, **SLOW)
def test_any_part_of_a_file_may_be_missing_or_too_much(adapters, unet, good, bare, at, removed, added):
    at %= len(good)
    harmless(adapters, unet, bare, good[:at] + added + good[at + removed :])


@given(entries=st.dictionaries(NAMES | st.just("__metadata__"), DESCRIPTIONS | JSON, max_size=4), kept=st.booleans())
@settings(max_examples=60, **SLOW)
def test_any_header_may_stand_before_the_tensors(adapters, unet, good, bare, entries, kept):
    header = header_of(good) | entries if kept else entries
    harmless(adapters, unet, bare, with_header(good, json.dumps(header).encode("utf-8", "surrogatepass")))


@given(
    said=st.dictionaries(
        st.sampled_from(
            ["r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_dora", "use_rslora", "target_modules"]
        ),
        JSON | st.dictionaries(st.sampled_from(["to_q", "^conv_in", "(a+)+", ""]), JSON, max_size=2),
        max_size=4,
    )
)
@settings(max_examples=40, **SLOW)
def test_any_metadata_may_be_said(adapters, unet, good, bare, said):
    harmless(adapters, unet, bare, saying(good, **said))


@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=8),
    rank=st.integers(1, 5),
    dtype=st.sampled_from(["F32", "F16", "BF16"]),
)
@settings(max_examples=12, **SLOW)
def test_any_values_and_ranks_may_be_stored(adapters, unet, good, bare, values, rank, dtype):
    names = first_pair(good)
    width = tensors_of(good)[names[0]][1][1]
    numbers = np.resize(np.array(values, np.float32), rank * width)
    stored = {
        "F32": numbers.tobytes(),
        "F16": bytes(2 * numbers.size),
        "BF16": (numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes(),
    }
    height = tensors_of(good)[names[1]][1][0]
    data = made({names[0]: (dtype, [rank, width], stored[dtype]), names[1]: zeros("F32", height, rank)})
    harmless(adapters, unet, bare, data)
