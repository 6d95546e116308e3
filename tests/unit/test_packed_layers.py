"""Layers that oneDNN computes: what torch would have computed, whatever happens to the layer."""

import copy
import pickle

import pytest
import torch
from torch import nn

from shared.models import packed_layers
from shared.models.packed_layers import DirectLinear, PackedConv2d, is_available, pack_layers

CONVOLUTIONS = {
    "3 x 3": {"kernel_size": 3, "padding": 1},
    "1 x 1": {"kernel_size": 1},
    "halving": {"kernel_size": 3, "padding": 1, "stride": 2},
    "wide": {"kernel_size": 3, "padding": 2, "dilation": 2},
    "by channel": {"kernel_size": 3, "padding": 1, "groups": 16},
    "no bias, uneven": {"kernel_size": (1, 5), "padding": (0, 1), "bias": False},
}

pytestmark = pytest.mark.skipif(not is_available(), reason="another processor")


@pytest.fixture(params=CONVOLUTIONS)
def convolution(request):
    torch.manual_seed(1)
    return nn.Conv2d(16, 32, **CONVOLUTIONS[request.param]).requires_grad_(False)


@pytest.fixture
def linear():
    torch.manual_seed(1)
    return nn.Linear(24, 40).requires_grad_(False)


def both(layer):
    """Return a packed copy of a layer, and the layer."""
    packed = copy.deepcopy(layer)
    pack_layers(packed)
    return packed, layer


def output_and_gradient(layer, states):
    states = states.detach().requires_grad_()
    output = layer(states)
    output.square().sum().backward()
    return output.detach(), states.grad


def same(some, others):
    return all(torch.allclose(one, other, rtol=1e-4, atol=1e-4) for one, other in zip(some, others, strict=True))


def pictures(*shape, channels_last=True):
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    return made.to(memory_format=torch.channels_last) if channels_last else made


def test_this_torch_has_the_operations_of_onednn():
    assert torch.ops.mkldnn._convolution_pointwise is not None


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_a_convolution_and_its_gradient_are_torchs(convolution, count, channels_last):
    packed, plain = both(convolution)
    seen = pictures(count, 16, 12, 12, channels_last=channels_last)
    assert isinstance(packed, PackedConv2d)
    assert same(output_and_gradient(packed, seen), output_and_gradient(plain, seen))
    with torch.inference_mode():
        assert same([packed(seen)], [plain(seen)])
        assert torch.equal(packed(seen), packed(seen))


@pytest.mark.parametrize("shape", [(64, 24), (2, 32, 24), (3, 24)])
def test_a_linear_layer_and_its_gradient_are_torchs(linear, shape):
    packed, plain = both(linear)
    states = torch.randn(*shape)
    assert isinstance(packed, DirectLinear)
    assert same(output_and_gradient(packed, states), output_and_gradient(plain, states))
    turned = torch.randn(24, 32).t()
    assert same([packed(turned)], [plain(turned)])


def test_weights_packed_for_one_size_leave_pictures_of_another_to_torch(convolution):
    packed, plain = both(convolution)
    packed(pictures(1, 16, 12, 12))
    other = pictures(1, 16, 20, 8)
    assert torch.equal(packed(other), plain(other))


def test_a_changed_weight_is_packed_again(convolution):
    packed, plain = both(convolution)
    seen = pictures(1, 16, 12, 12)
    output_and_gradient(packed, seen)
    for layer in (packed, plain):
        layer.weight.mul_(3.0)
    assert same(output_and_gradient(packed, seen), output_and_gradient(plain, seen))


def test_a_layer_that_learns_gets_its_gradient(convolution, linear):
    for layer, seen in ((convolution, pictures(1, 16, 12, 12)), (linear, torch.randn(32, 24))):
        packed, _ = both(layer)
        packed.requires_grad_(True)
        packed(seen).sum().backward()
        assert packed.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_torch(convolution, linear, dtype):
    for layer, seen in ((convolution, pictures(1, 16, 12, 12)), (linear, torch.randn(32, 24))):
        packed, plain = both(layer.to(dtype))
        assert torch.equal(packed(seen.to(dtype)), plain(seen.to(dtype)))


def test_all_is_torchs_where_onednn_is_off(convolution, linear):
    for layer, seen in ((convolution, pictures(2, 16, 12, 12)), (linear, torch.randn(32, 24))):
        packed, plain = both(layer)
        with torch.backends.mkldnn.flags(enabled=False):
            assert torch.equal(packed(seen), plain(seen))


def test_a_copy_packs_its_own_weights(convolution):
    packed, _ = both(convolution)
    seen = pictures(1, 16, 12, 12)
    expected = packed(seen)
    for twin in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        packed.weight.mul_(2.0)
        assert torch.equal(twin(seen), expected)


def test_convolutions_of_a_large_model_keep_their_memory(monkeypatch):
    monkeypatch.setattr(packed_layers, "MOST_BYTES", 4 * 16 * 16 * 9 * 2 - 1)
    large = nn.Sequential(nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(4, 4))
    pack_layers(large)
    assert [type(layer) for layer in large] == [nn.Conv2d, nn.Conv2d, DirectLinear]


def test_what_a_state_holds_is_what_it_held(convolution):
    packed, plain = both(convolution)
    packed(pictures(1, 16, 12, 12))
    assert packed.state_dict().keys() == plain.state_dict().keys()
