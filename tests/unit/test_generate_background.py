"""Who is in the foreground, and how the rest is cut into squares."""

from itertools import pairwise

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from functions.generate.background import repaint
from functions.generate.background.person_segmentation import crop_mask, segment_people
from functions.generate.face import masks
from functions.generate.networks.image_network import NetworkMissing
from functions.generate.networks.person_network import PersonNetwork
from shared.settings import FaceSettings
from tests import pictures


def found(engine, image, network=None):
    faces = engine.detect(image)
    return faces, segment_people(image, faces, network)


def full_size(owned, image):
    return crop_mask(owned, image.shape, slice(0, image.shape[0]), slice(0, image.shape[1]))


class TestPeople:
    def test_the_astronaut_is_kept_and_the_room_behind_her_is_not(self, engine):
        image = pictures.astronaut()
        faces, owned = found(engine, image)
        share = full_size(owned, image)
        assert (share[masks.face(faces[0].landmarks, image.shape[:2], 0, 0) > 0.5] == 1).all()
        assert (share[300:420, 150:260] == 1).all()  # her suit
        assert (share[20:60, 190:260] == 1).mean() > 0.8  # her hair
        assert share[:150, :80].max() < 0.01
        assert share[20:150, 330:400].mean() < 0.1

    def test_everybody_of_a_group_is_kept(self, engine):
        image = pictures.group()
        faces, owned = found(engine, image)
        share = full_size(owned, image)
        assert len(faces) == 6
        for face in faces:
            assert (share[masks.face(face.landmarks, image.shape[:2], 0.02, 0) > 0.5] > 0.99).all()
        assert share[:60, :400].max() < 0.05

    def test_the_same_picture_gives_the_same_mask(self, engine):
        image = pictures.hopper()
        assert np.array_equal(found(engine, image)[1], found(engine, image)[1])

    def test_a_face_that_fills_the_picture_leaves_no_background(self, engine):
        image = pictures.astronaut()
        face = max(engine.detect(image), key=lambda face: face.score)
        left, top, right, bottom = face.box.square(1.0).rounded()
        image = cv2.resize(image[top:bottom, left:right], (600, 600), interpolation=cv2.INTER_CUBIC)
        faces = engine.detect(image)
        assert len(faces) == 1
        assert full_size(segment_people(image, faces), image).mean() > 0.9

    def test_a_part_of_the_mask_is_the_same_as_of_the_whole(self, engine):
        image = pictures.hopper()
        _, owned = found(engine, image)
        enlarged = (3 * image.shape[0], 3 * image.shape[1], 3)
        whole = crop_mask(owned, enlarged, slice(0, enlarged[0]), slice(0, enlarged[1]))
        part = crop_mask(owned, enlarged, slice(200, 700), slice(100, 900))
        assert np.allclose(part, whole[200:700, 100:900], atol=1e-3)


def segmenter(path):
    """A network with u2net_human_seg's signature: red is somebody's."""
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])
    given = helper.make_tensor_value_info("share", TensorProto.FLOAT, [1, 1, 64, 64])
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [1, 3, 1, 1], [1.0, 0.0, 0.0])
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "weight"], ["share"])], "red", [taken], [given], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


class TestTheNetwork:
    def test_it_tells_instead_of_the_cut(self, engine, tmp_path):
        image = np.zeros((300, 400, 3), np.uint8)
        image[:, 200:] = (255, 0, 0)
        share = full_size(
            segment_people(image, [], PersonNetwork(segmenter(tmp_path / "red.onnx"), FaceSettings())), image
        )
        assert (share[:, 215:] == 1).all()
        assert share[:, :180].max() < 0.05

    def test_a_file_that_is_none_is_named_with_its_setting(self, tmp_path):
        (tmp_path / "broken.onnx").write_bytes(b"no network")
        for name in ("broken.onnx", "missing.onnx"):
            with pytest.raises(NetworkMissing, match=rf"PEOPLE_NETWORK.*{name}"):
                PersonNetwork(tmp_path / name, FaceSettings())


class TestSquares:
    @pytest.mark.parametrize(("length", "side"), [(512, 512), (600, 512), (641, 512), (1500, 500), (6000, 4000)])
    def test_they_cover_the_picture_and_their_fading_adds_up_to_one(self, length, side):
        squares = repaint.tile_spans(length, side)
        total = np.zeros(length)
        for index, (first, last) in enumerate(squares):
            total[first:last] += repaint.feather(squares, index)
        assert squares[0][0] == 0
        assert squares[-1][1] == length
        assert all(later[0] < earlier[1] for earlier, later in pairwise(squares))
        assert np.allclose(total, 1, atol=1e-5)

    def test_a_picture_that_is_nearly_square_is_one(self):
        assert repaint.tile_spans(600, 512) == [(0, 600)]
