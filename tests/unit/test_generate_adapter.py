"""Whose LoRA is worn, and that of one who is gone nothing stays in memory."""

import gc
import weakref
from functools import partial

import pytest
import torch
from peft.tuners.lora import LoraLayer

from functions.generate.diffusion import lora_cache
from functions.generate.diffusion.lora_cache import LoraCache
from shared.models import diffusion
from shared.models.cross_attention_cache import cache_cross_attention
from shared.models.expiring_cache import SECONDS
from shared.settings import ModelSettings
from tests.clock import Clock
from tests.tiny_base import make_tiny_base
from tests.trained_users import lora

KEY = "results/train/r1/a1/lora.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def unet(base):
    return diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet


@pytest.fixture(scope="module")
def files(base, tmp_path_factory):
    other = diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet
    folder = str(tmp_path_factory.mktemp("lora"))
    return {"ann": lora(other, folder, 4, 1), "bob": lora(other, folder, 4, 2), "cleo": lora(other, folder, 8, 3)}


def seen(unet):
    with torch.inference_mode():
        latents, words = torch.linspace(-1, 1, 1024).reshape(1, 16, 8, 8), torch.linspace(-1, 1, 2464)
        return unet(latents, 500, encoder_hidden_states=words.reshape(1, 77, 32)).sample


def wearing(adapters, unet, key, etag, data):
    with adapters.activate([adapters.lora(key, lambda: etag, lambda: data)]):
        return seen(unet)


def adapters_on(unet):
    return list(getattr(unet, "peft_config", {}))


def test_who_gets_a_key_that_another_had_wears_their_own(unet, base, files):
    adapters = LoraCache(unet)
    first = wearing(adapters, unet, KEY, "etag of ann", files["ann"])
    second = wearing(adapters, unet, KEY, "etag of bob", files["bob"])
    fresh = diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet
    assert not torch.equal(first, second)
    assert torch.equal(second, wearing(LoraCache(fresh), fresh, KEY, "etag of bob", files["bob"]))


def test_a_changed_object_leaves_no_earlier_version_in_memory(unet, files):
    adapters = LoraCache(unet)
    first = weakref.ref(adapters.lora(KEY, lambda: "one", lambda: files["ann"]))
    adapters.lora(KEY, lambda: "two", lambda: files["bob"])
    gc.collect()
    assert first() is None


def test_an_object_that_is_replaced_while_it_is_read_is_not_remembered(unet, files):
    adapters, etags = LoraCache(unet), iter(["old", "new", "old", "old"])
    adapters.lora(KEY, lambda: next(etags), lambda: files["bob"])
    again = adapters.lora(KEY, lambda: next(etags), lambda: files["ann"])
    (name, tensor), *_ = again.tensors.items()
    assert torch.equal(tensor, lora_cache.parse_lora(files["ann"]).parts[name.removesuffix(".lora_A.weight")].down)


def test_an_object_that_is_gone_is_asked_for_and_not_remembered(unet, files):
    adapters = LoraCache(unet)
    adapters.lora(KEY, lambda: "etag", lambda: files["ann"])

    def gone():
        raise LookupError

    with pytest.raises(LookupError):
        adapters.lora(KEY, lambda: None, gone)


class TestMixedBatches:
    PEOPLE = ("ann", None, "cleo", "ann")

    def seen(self, unet):
        """Of twice the people, as guidance has them."""
        generator = torch.Generator().manual_seed(5)
        latents = torch.randn(8, 16, 8, 8, generator=generator)
        words = torch.randn(8, 77, 32, generator=generator)
        with torch.inference_mode():
            return unet(latents, 500, encoder_hidden_states=words).sample

    def test_each_picture_wears_its_own_to_the_bit_as_by_peft(self, unet, files):
        adapters = LoraCache(unet)
        worn = [name and adapters.lora(name, lambda: "etag", partial(files.get, name)) for name in self.PEOPLE]
        bare = self.seen(unet)
        with adapters.activate(worn):
            ours = self.seen(unet)
        assert torch.equal(self.seen(unet), bare)
        slots = {resident.loaded: name for name, resident in adapters._resident.items()}
        names = [slots[one] if one else "__base__" for one in worn] * 2
        for layer in adapters._layers:
            layer._disable_adapters = False
            layer.register_forward_pre_hook(
                lambda layer, given, named: (given, named | {"adapter_names": names}), with_kwargs=True
            )
        assert torch.equal(ours, self.seen(unet))
        assert len({ours[place].sum().item() for place in range(4)}) == 4

    def test_what_the_words_are_is_remembered_for_each_wearer_and_no_longer_than_the_diffusion(self, unet, files):
        adapters = LoraCache(unet)
        worn = [name and adapters.lora(name, lambda: "etag", partial(files.get, name)) for name in self.PEOPLE]
        with adapters.activate(worn):
            before = self.seen(unet)
            with cache_cross_attention(unet):
                within = self.seen(unet)
            after = self.seen(unet)
        assert torch.equal(within, before)
        assert torch.equal(after, before)

    def test_nobody_is_the_bare_base(self, unet):
        bare = self.seen(unet)
        for nobody in ([], [None], [None, None]):
            with LoraCache(unet).activate(nobody):
                assert torch.equal(self.seen(unet), bare)


class TestEvicting:
    def everything_of(self, adapters):
        """Weak references to what is kept of everybody: the files' tensors, and the parameters on the UNet."""
        read = [tensor for one in adapters._users.values() for tensor in one.tensors.values()]
        return [
            weakref.ref(tensor) for tensor in [*read, *(t for one in adapters._resident.values() for t in one.tensors)]
        ]

    @pytest.mark.parametrize("people", [["ann"], ["ann", "cleo"]])
    def test_nothing_stays_of_whose_objects_are_gone(self, unet, files, people):
        bare, adapters = seen(unet), LoraCache(unet)
        for name in people:
            wearing(adapters, unet, name, "etag", files[name])
        kept = self.everything_of(adapters)
        adapters.evict(lambda key: False)
        gc.collect()
        assert kept
        assert not [one for one in kept if one() is not None]
        assert not [name for name, _ in unet.named_parameters() if "lora" in name]
        assert torch.equal(seen(unet), bare)

    def test_who_is_there_again_is_read_and_worn_again(self, unet, files):
        adapters = LoraCache(unet)
        before = wearing(adapters, unet, "ann", "etag", files["ann"])
        for _ in range(2):
            adapters.evict(lambda key: False)
            assert torch.equal(wearing(adapters, unet, "ann", "etag", files["ann"]), before)

    def test_the_others_stay(self, unet, files):
        adapters = LoraCache(unet)
        before = {name: wearing(adapters, unet, name, "etag", files[name]) for name in ("ann", "cleo")}
        adapters.evict(lambda key: key == "cleo")

        def never():
            raise AssertionError("read again")

        with adapters.activate([adapters.lora("cleo", lambda: "etag", never)]):
            assert torch.equal(seen(unet), before["cleo"])
        assert adapters_on(unet) == list(adapters._resident)

    def test_one_who_was_portrayed_after_another_of_the_same_shape_stays_alone(self, unet, files):
        adapters = LoraCache(unet)
        for name in ("ann", "bob"):
            wearing(adapters, unet, name, "etag", files[name])
        adapters.evict(lambda key: key == "ann")
        assert not adapters_on(unet), "the adapter on the UNet had the values of the one who is gone"

    def test_whom_nobody_asked_for_in_ten_minutes_is_forgotten(self, unet, files):
        clock = Clock()
        adapters = LoraCache(unet, clock=clock)
        wearing(adapters, unet, "ann", "etag", files["ann"])
        clock.now += SECONDS
        adapters.evict(lambda key: True)
        assert not adapters_on(unet)
        assert not list(adapters._users)

    def test_whom_memory_had_no_room_for_is_not_left_on_the_unet(self, unet, files):
        adapters = LoraCache(unet, users=1)
        for name in ("ann", "cleo"):
            wearing(adapters, unet, name, "etag", files[name])
        adapters.evict(lambda key: True)
        assert [one.loaded for one in adapters._resident.values()] == list(adapters._users.values())

    def test_a_store_that_fails_evicts_what_is_old_and_loses_nobody(self, unet, files):
        clock = Clock()
        adapters = LoraCache(unet, clock=clock)
        wearing(adapters, unet, "ann", "etag", files["ann"])
        clock.now += SECONDS / 2
        wearing(adapters, unet, "cleo", "etag", files["cleo"])
        clock.now += SECONDS / 2

        def failing(key):
            raise OSError("the store is away")

        with pytest.raises(OSError, match="away"):
            adapters.evict(failing)
        assert list(adapters._users) == [("cleo", "etag")]
        assert len(adapters_on(unet)) == 1


def test_an_interrupted_change_of_wearer_leaves_nobodys_values_under_a_name(unet, files, monkeypatch):
    adapters = LoraCache(unet)
    before = wearing(adapters, unet, "ann", "etag", files["ann"])
    copy = torch._foreach_copy_

    def interrupted(targets, sources):
        copy(targets[:1], sources[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "_foreach_copy_", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wearing(adapters, unet, "bob", "etag", files["bob"])
    monkeypatch.undo()
    assert torch.equal(wearing(adapters, unet, "ann", "etag", files["ann"]), before)


def test_files_beyond_the_memory_for_them_make_each_other_go(unet, files, monkeypatch):
    adapters = LoraCache(unet)
    size = adapters.lora("ann", lambda: "etag", lambda: files["ann"]).size
    monkeypatch.setattr(lora_cache, "KEPT_BYTES", 2 * size)
    for name in ("bob", "cleo"):
        adapters.lora(name, lambda: "etag", lambda name=name: files[name])
    assert [key for key, _ in adapters._users] == ["cleo"], "cleo's has twice the rank"


def test_the_adapter_has_the_units_of_the_base_whatever_the_file_was_stored_in(unet, files):
    unet.to(torch.bfloat16)
    adapters = LoraCache(unet)
    with adapters.activate([adapters.lora("ann", lambda: "etag", lambda: files["ann"])]):
        layers = [module for module in unet.modules() if isinstance(module, LoraLayer)]
        assert {weight.dtype for layer in layers for weight in layer.parameters()} == {torch.bfloat16}
