"""Networks out of files: spandrel's own architectures with small weights, from the file to the picture."""

import sys

import numpy as np
import pytest
import torch

from functions.generate.networks import image_network
from functions.generate.networks.enhancers import Enhancers
from functions.generate.networks.image_network import ImageNetwork, NetworkMissing
from functions.generate.networks.upscale import upscale_2x
from functions.generate.retouching import restoration
from shared.settings import EnhanceSettings, FaceSettings
from tests import pictures
from tests.spandrel import spandrel_or_skip

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spandrel():
    return spandrel_or_skip()


def compact(scale, channels=3):
    """Real-ESRGAN's small network with weights that repeat pixels and add a faint pattern of their own."""
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(scale)
    model = Compact(num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=2, upscale=scale)
    with torch.no_grad():
        model.body[-1].weight *= 0.3
        model.body[-1].bias.zero_()
    return model.state_dict()


@pytest.fixture(scope="module")
def files(spandrel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    for name, state in (("same", compact(1)), ("twice", compact(2)), ("four", compact(4)), ("rgba", compact(2, 4))):
        torch.save({"params": state}, folder / f"{name}.pth")
    torch.save({"nothing": torch.zeros(3)}, folder / "strange.pth")
    for name in ("broken.pth", "broken.safetensors"):
        (folder / name).write_bytes(b"<html>404</html>")
    (folder / "empty.pth").touch()
    whole = (folder / "twice.pth").read_bytes()
    (folder / "cut.pth").write_bytes(whole[: len(whole) // 2])
    return folder


def settings(files, **names):
    return EnhanceSettings(
        **{setting: files / (name if "." in name else f"{name}.pth") for setting, name in names.items()}
    )


class TestSuperResolution:
    @pytest.mark.parametrize("name", ["twice", "four"])
    def test_a_network_doubles_the_picture(self, files, name):
        enhancers = Enhancers.load(settings(files, upscale_network=name), CPU, FaceSettings())
        image = pictures.hopper()
        made = upscale_2x(image, enhancers.upscale)
        assert made.shape == (1200, 1024, 3)
        assert np.abs(made[::2, ::2].astype(int) - image).mean() < 12
        assert enhancers.by("super_resolution") == f"RealESRGAN Compact {name}.pth"

    def test_tiles_leave_no_seam(self, files):
        upscaling = Enhancers.load(settings(files, upscale_network="twice"), CPU, FaceSettings()).upscale
        image = pictures.hopper()
        whole = np.clip(np.rint(upscaling(image)), 0, 255)
        assert np.abs(upscale_2x(image, upscaling) - whole).max() <= 1


class TestRestoration:
    def test_the_face_changes_and_nothing_else(self, files, engine):
        image = pictures.astronaut()
        (face,) = engine.detect(image)
        one = np.ones(image.shape[:2], np.float32)
        restoring = Enhancers.load(settings(files, face_network="same"), CPU, FaceSettings()).face
        made = restoration.restore_face(image, face.landmarks, restoring, engine, one, 0 * one)
        changed = np.any(made != image, axis=-1)
        left, top, right, bottom = face.box.rounded()
        assert changed[top:bottom, left:right].mean() > 0.5
        assert not changed[:, right + 60 :].any()
        assert not changed[bottom + 60 :].any()
        assert np.array_equal(
            restoration.restore_face(image, face.landmarks, restoring, engine, 0 * one, 0 * one), image
        )

    def test_a_network_that_makes_somebody_else_is_not_heard(self, engine):
        image = pictures.astronaut()
        (face,) = engine.detect(image)
        one = np.ones(image.shape[:2], np.float32)
        upside_down = restoration.restore_face(
            image, face.landmarks, lambda aligned: aligned[::-1] + 0.0, engine, one, 0 * one
        )
        assert np.array_equal(upside_down, image)


class TestGfpgan:
    """Its architecture is fixed at 350 MB; what is asked of it here is how it is called."""

    def test_it_gets_the_range_that_it_is_trained_on_and_no_noise(self):
        class Model:
            def __call__(self, pixels, randomize_noise=True):
                assert not randomize_noise
                self.range = float(pixels.min()), float(pixels.max())
                return pixels / 2, []

        class Descriptor:
            scale, model = 1, Model()
            architecture = type("Architecture", (), {"id": "GFPGAN"})

        image = np.array([[[0, 64, 255]]], np.uint8)
        made = ImageNetwork("GFPGAN", Descriptor, CPU)(image)
        assert Descriptor.model.range == (-1, 1)
        assert np.allclose(made, 127.5 + (image - 127.5) / 2, atol=1e-3)

    @pytest.mark.slow
    def test_the_real_one_gives_the_same_picture_twice(self, spandrel, tmp_path):
        from spandrel.architectures.GFPGAN import GFPGAN

        torch.manual_seed(0)
        model = GFPGAN(
            out_size=512,
            num_style_feat=512,
            channel_multiplier=2,
            decoder_load_path=None,
            fix_decoder=False,
            num_mlp=8,
            input_is_latent=True,
            different_w=True,
            narrow=1,
            sft_half=True,
        )
        torch.save({"params_ema": model.state_dict()}, tmp_path / "GFPGANv1.4.pth")
        del model
        restoring = image_network.load_network(tmp_path / "GFPGANv1.4.pth", "FACE", CPU, upscaling=False)
        assert restoring.name == "GFPGAN GFPGANv1.4.pth"
        aligned = pictures.astronaut()
        made = restoring(aligned)
        assert made.shape == (512, 512, 3)
        assert np.array_equal(made, restoring(aligned))


class TestFilesThatWillNotDo:
    @pytest.mark.parametrize(
        ("setting", "name", "reason"),
        [
            ("face_network", "twice", "scale 2"),
            ("upscale_network", "same", "scale 1"),
            ("upscale_network", "rgba", "RGB to RGB"),
            ("upscale_network", "strange", "not a network that spandrel supports"),
            ("face_network", "broken", "not a network that spandrel supports"),
            ("face_network", "broken.safetensors", "not a network that spandrel supports"),
            ("face_network", "empty", "not a network that spandrel supports"),
            ("face_network", "cut", "not a network that spandrel supports"),
            ("face_network", "absent", "no file"),
        ],
    )
    def test_the_error_names_the_setting_and_the_file(self, files, setting, name, reason):
        with pytest.raises(NetworkMissing, match=reason) as error:
            Enhancers.load(settings(files, **{setting: name}), CPU, FaceSettings())
        assert f"PHOTOG_ENHANCE__{setting.upper()}" in str(error.value)
        assert name in str(error.value)

    def test_without_spandrel_the_error_says_what_to_install(self, files, monkeypatch):
        monkeypatch.setitem(sys.modules, "spandrel", None)
        with pytest.raises(NetworkMissing, match=r"\.\[enhance\]"):
            Enhancers.load(settings(files, face_network="same"), CPU, FaceSettings())
