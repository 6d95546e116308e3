"""Face fusion on real faces, without any diffusion."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from functions.generate.face import light, masks
from functions.generate.face.gaussian import blur
from functions.generate.face.landmarks import face_width, fit_similarity, measure_misfit, mirror, with_forehead
from functions.generate.fusion import occlusion
from functions.generate.fusion.blend_weights import BlendWeights
from functions.generate.fusion.correspondence import pose_agreement
from functions.generate.fusion.landmark_fusion import ROUGH_WIDTH, ReferencePhoto, fuse
from functions.generate.fusion.warp import REACH, plan_movement
from functions.generate.photo_choice import choose_reference
from shared.faces import pose
from tests import pictures

DEGREES = (0.25, 0.5, 0.75, 1.0)


def best(engine, image):
    return engine.detect(image)[-1]


@pytest.fixture(scope="module")
def person(engine):
    image = pictures.astronaut()
    return ReferencePhoto(image, best(engine, image).landmarks)


@pytest.fixture(scope="module")
def template(engine):
    image = pictures.hopper()
    return ReferencePhoto(image, best(engine, image).landmarks)


@pytest.fixture(scope="module")
def fused(template, person):
    return {degree: fuse(template.image, template.landmarks, person, degree) for degree in DEGREES}


def test_degree_0_is_the_template_bit_for_bit(template, person):
    untouched = fuse(template.image, template.landmarks, person, 0.0)
    assert np.array_equal(untouched.image, template.image)
    assert np.array_equal(untouched.landmarks, template.landmarks)


@pytest.fixture(scope="module")
def bare(engine):
    """A template without glasses: what hides half of the eyes hides half of the likeness."""
    image = pictures.group()
    return ReferencePhoto(image, engine.detect(image)[-1].landmarks)


def likeness(engine, image, person, landmarks):
    """Distance to the person of the face found at the landmarks."""
    center = landmarks.mean(axis=0)
    there = min(engine.detect(image), key=lambda face: np.hypot(*(face.landmarks.mean(axis=0) - center)))
    return engine.distance(engine.embed(image, there), engine.embed(person.image, best(engine, person.image)))


def portrayed(bare, person, degree, times):
    """The template after that many fusions of one degree."""
    made = fuse(bare.image, bare.landmarks, person, degree)
    for _ in range(times - 1):
        made = fuse(made.image, made.landmarks, person, degree, frames=made.frames)
    return made.image


@pytest.mark.parametrize("times", [1, 2])
def test_every_degree_brings_the_face_nearer_to_the_person(engine, bare, person, times):
    made = [portrayed(bare, person, degree, times) for degree in (0.0, *DEGREES)]
    distances = [likeness(engine, image, person, bare.landmarks) for image in made]
    assert all(before > after for before, after in pairwise(distances))
    assert distances[0] > 0.7
    assert distances[-1] < 0.45


def test_the_default_degrees_twice_make_the_person_recognized(engine, bare, person):
    twice = portrayed(bare, person, 0.5, 2)
    assert likeness(engine, twice, person, bare.landmarks) < 0.45


def test_a_person_comes_through_a_templates_glasses(engine, template, person, fused):
    assert likeness(engine, fused[1.0].image, person, template.landmarks) < 0.6


def test_a_photo_turned_elsewhere_does_not_tear_the_head(person):
    turned = person.landmarks.copy()
    turned[27:36, 0] += 25
    assert pose_agreement(person.landmarks, person.landmarks) == 1
    assert pose_agreement(turned, person.landmarks) < 0.8


def test_the_share_of_the_person_rises_with_the_degree_from_nothing_to_all():
    shares = [BlendWeights.of(degree) for degree in np.linspace(0, 1, 11)]
    for part in ("shape", "skin", "features"):
        values = [getattr(share, part) for share in shares]
        assert values[0] == 0
        assert values[-1] == 1
        assert all(a < b for a, b in pairwise(values))
    assert all(a.reaching <= b.reaching and a.closeness >= b.closeness for a, b in pairwise(shares))


def test_above_the_default_degree_the_border_gives_way_to_the_person():
    default, halfway, most = (BlendWeights.of(degree) for degree in (0.5, 0.75, 1.0))
    assert default.closeness == 1
    assert default.reaching < halfway.reaching < most.reaching
    assert default.closeness > halfway.closeness > most.closeness > 0


def whites(image, landmarks):
    """How light the lightest tenth of the eyes is, and how light the bare skin is in the middle."""
    lightness, size = light.to_lab(image)[..., 0], image.shape[:2]
    eyes, skin = masks.eyes(landmarks, size, 0.0, 0.0) > 0.5, masks.bare(landmarks, size) > 0.5
    return np.quantile(lightness[eyes], 0.9), np.median(lightness[skin])


def dimmed(image, where):
    """The picture with two fifths of the light."""
    share = 1 - 0.6 * where[..., None]
    return np.rint(255 * ((image / 255) ** 2.2 * share) ** (1 / 2.2)).astype(np.uint8)


def test_eyes_are_dim_in_dim_light_and_white_in_dark_skin(engine, person):
    image = pictures.astronaut()[:300]
    landmarks, size = best(engine, image).landmarks, image.shape[:2]
    dim, dark = dimmed(image, np.ones(size)), dimmed(image, 1 - masks.eyes(landmarks, size))
    made = [fuse(one, landmarks, person, 1.0) for one in (image, dim, dark)]
    (white, skin), (white_dim, skin_dim), (white_dark, skin_dark) = (whites(one.image, one.landmarks) for one in made)
    assert skin_dim == pytest.approx(skin_dark, abs=6)
    assert skin_dim < skin - 15
    assert white - white_dim > 0.8 * (skin - skin_dim)
    assert white - white_dark < 0.5 * (skin - skin_dark)


def test_pixels_away_from_the_face_stay_bit_for_bit(template, fused):
    target = fused[1.0].landmarks
    y, x = np.mgrid[: template.image.shape[0], : template.image.shape[1]]
    away = np.hypot(x - target[:, 0].mean(), y - target[:, 1].mean()) > REACH * face_width(target) + 1
    assert away.mean() > 0.3
    assert np.array_equal(fused[1.0].image[away], template.image[away])
    assert not np.array_equal(fused[1.0].image[~away], template.image[~away])


def test_a_neighbors_face_is_never_touched(template, person):
    free = np.ones(template.image.shape[:2], np.float32)
    free[:, 330:] = 0
    image = fuse(template.image, template.landmarks, person, 1.0, free).image
    assert np.array_equal(image[:, 330:], template.image[:, 330:])


def test_the_skin_keeps_the_templates_color(template, person, fused):
    def color(image, landmarks):
        where = masks.bare(landmarks, image.shape[:2]) > 0.5
        return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[where].mean(axis=0)

    wanted = color(template.image, template.landmarks)
    got = color(fused[1.0].image, fused[1.0].landmarks)
    assert np.abs(got - wanted).max() < 6
    assert np.abs(color(person.image, person.landmarks) - wanted).max() > 6


def test_a_small_photo_does_not_make_the_face_soft(engine, template):
    small = cv2.resize(pictures.astronaut(), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    fused = fuse(template.image, template.landmarks, ReferencePhoto(small, best(engine, small).landmarks), 1.0)

    def sharpness(picture, landmarks):
        edges = cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F)
        # the median: the template's glasses are edges, not skin
        return np.median(np.abs(edges[masks.bare(landmarks, picture.shape[:2]) > 0.5]))

    assert sharpness(fused.image, fused.landmarks) > 0.7 * sharpness(template.image, template.landmarks)


def test_a_face_at_the_pictures_border_is_no_error(template, person):
    cut = np.ascontiguousarray(template.image[190:, 230:330])
    image = fuse(cut, template.landmarks - [230, 190], person, 1.0).image
    assert image.shape == cut.shape


def test_moving_nothing_moves_nothing(template):
    still = plan_movement(template.landmarks, template.landmarks, template.image.shape[:2])
    assert np.array_equal(still.of(template.image), template.image)


@pytest.mark.parametrize("place", [None, (0, 0), (-1, -1)])
def test_a_mask_of_which_nothing_is_where_the_face_moves_stays_as_it_is(template, place):
    """As the beard of a bare face in a wide picture whose top cuts the hair."""
    height, width = 300, 900
    face = template.landmarks - template.landmarks.min(axis=0) + [400, 40]
    movement = plan_movement(face, face + np.linspace(0, 6, len(face))[:, None], (height, width))
    assert movement.part[0].start == 0 < movement.part[1].start
    mask = np.zeros((height, width), np.float32)
    if place is not None:
        mask[place] = 1
    assert np.array_equal(movement.of(mask), mask)


def test_the_photo_with_the_nearest_pose_is_taken(template, person):
    turned = person.landmarks.copy()
    turned[27:36, 0] += 12  # nose to one side: a face that looks away
    away = ReferencePhoto(person.image, turned)
    assert choose_reference([away, person], person.landmarks) is person


def test_the_photo_with_the_templates_expression_is_taken_before_one_nearer_in_shape(person):
    """The closed mouth belongs to a face that is a little broader; the open one has the template's very shape."""
    shut = person.landmarks.copy()
    shut[48:] = shut[48:].mean(axis=0) + (shut[48:] - shut[48:].mean(axis=0)) * [0.75, 0.3]
    broad = shut * [1.2, 1]
    portrayals = [person, ReferencePhoto(person.image, broad)]
    assert measure_misfit(person.landmarks, shut) < measure_misfit(broad, shut)
    assert choose_reference(portrayals, shut) is portrayals[1]
    assert choose_reference(portrayals, person.landmarks) is person


def test_a_face_turned_the_other_way_is_used_in_the_mirror(person):
    turned = person.landmarks.copy()
    turned[27:36, 0] += 12
    other_way = mirror(turned, person.image.shape[1])
    taken = choose_reference([ReferencePhoto(person.image, turned)], other_way)
    assert np.array_equal(taken.image, person.image[:, ::-1])
    assert np.allclose(taken.landmarks, other_way)


def test_mirroring_twice_gives_the_points_back(person):
    assert np.allclose(mirror(mirror(person.landmarks, 512), 512), person.landmarks)


def test_alignment_undoes_turn_scale_and_shift(person):
    turn = np.exp(0.3j) * 1.7
    moved = (person.landmarks[:, 0] + 1j * person.landmarks[:, 1]) * turn + (5 - 3j)
    target = np.stack([moved.real, moved.imag], axis=1)
    assert np.allclose(fit_similarity(person.landmarks, target)(person.landmarks), target)


def test_masks_mean_the_same_on_a_large_face(person):
    small = masks.face(person.landmarks, (512, 512))
    large = masks.face(person.landmarks * 6 + 2.5, (3072, 3072))
    assert np.abs(cv2.resize(large, (512, 512), interpolation=cv2.INTER_AREA) - small).max() < 0.25
    assert abs(large.mean() - small.mean()) < 0.05 * small.mean()


def test_after_a_rough_fusion_the_next_one_gives_nearly_the_same_face(template, person):
    """The first of two fusions leaves fine detail to the second; what may not change stays bit-identical in both."""
    times = 1.5
    base = cv2.resize(template.image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    landmarks = (template.landmarks + 0.5) * times - 0.5
    assert face_width(landmarks) > ROUGH_WIDTH
    free = np.ones(base.shape[:2], np.float32)
    free[:, int(landmarks[30, 0]) :] = 0
    made = []
    for rough in (False, True):
        first = fuse(base, landmarks, person, 0.5, free, rough=rough)
        assert np.array_equal(first.image[free == 0], base[free == 0])
        made.append(fuse(first.image, first.landmarks, person, 0.5, free, first.frames, hair=first.hair).image)
    changed = np.any(made[0] != base, axis=-1)
    assert changed.any()
    assert np.abs(made[0].astype(int) - made[1])[changed].mean() < 1


def test_a_mask_of_a_large_face_is_drawn_small_and_enlarged(person, monkeypatch):
    drawn = []

    def watch(plane, *rest):
        drawn.append(plane.shape)
        return blur(plane, *rest)

    monkeypatch.setattr(masks, "blur", watch)
    assert masks.face(person.landmarks * 6 + 2.5, (3072, 3072)).shape == (3072, 3072)
    assert max(drawn[0]) < 1536


def test_the_edge_mask_is_a_ring_with_eyes_and_lips(person):
    edge = masks.edge(person.landmarks, (512, 512))
    points = with_forehead(person.landmarks)
    cheek = (points[2] + points[31]) / 2
    for x, y, least, most in [
        (*points[37], 0.3, 1),
        (*points[51], 0.3, 1),
        (*points[8], 0.8, 1),
        (*cheek, 0, 0.2),
        (2, 2, 0, 0),
    ]:
        assert least <= edge[round(y), round(x)] <= most


def test_a_fringe_over_the_brows_does_not_come_over(template, person):
    fringed = person.image.copy()
    (left, top), (right, bottom) = (points.astype(int) for points in (person.landmarks[17], person.landmarks[26]))
    cv2.rectangle(fringed, (left - 4, min(top, bottom) - 60), (right + 4, max(top, bottom) + 2), (60, 40, 25), -1)
    fused = fuse(template.image, template.landmarks, ReferencePhoto(fringed, person.landmarks), 1.0)
    before, after = with_forehead(template.landmarks), with_forehead(fused.landmarks)
    moved = plan_movement(before, after, template.image.shape[:2]).of(template.image)
    middle = round(float(fused.landmarks[27, 0]))
    brow = round(float(fused.landmarks[17:27, 1].mean()))
    forehead = slice(brow - 22, brow - 8), slice(middle - 30, middle + 30)
    assert np.abs(fused.image[forehead].astype(int) - moved[forehead]).mean() < 12


def test_a_collar_inside_the_outline_does_not_come_over(template, person, monkeypatch):
    collared = person.image.copy()
    chin = person.landmarks[8].astype(int)
    cv2.circle(collared, (int(chin[0]), int(chin[1])), 14, (20, 190, 190), -1)
    collared = ReferencePhoto(collared, person.landmarks)

    def green():
        """Share of the face that has the collar's color more than the template and the bare photo's fusion have it."""
        own, bare, made = (
            light.to_lab(image)[..., 1]
            for image in (
                template.image,
                fuse(template.image, template.landmarks, person, 1.0).image,
                fuse(template.image, template.landmarks, collared, 1.0).image,
            )
        )
        around = masks.face(template.landmarks, template.image.shape[:2], -0.02, 0.01) > 0.5
        return ((made - np.minimum(own, bare))[around] < -6).mean()

    without = green()
    monkeypatch.setattr(occlusion, "STRANGE", (1e6, 2e6))
    assert green() > 0.002  # the color would come over, else this would prove nothing
    assert without < 0.25 * green()


def test_hair_beside_the_cheek_does_not_come_over(template, person, monkeypatch):
    locked = person.image.copy()
    width = person.landmarks[16, 0] - person.landmarks[0, 0]
    x = int(person.landmarks[1, 0] + 0.06 * width)
    top, bottom = int(person.landmarks[36, 1]), int(person.landmarks[3, 1])
    cv2.rectangle(locked, (x - 6, top), (x + 3, bottom), (45, 30, 20), -1)
    locked = ReferencePhoto(locked, person.landmarks)

    def dark():
        """Share of the face that is much darker than without the lock."""
        lightness = [
            fuse(template.image, template.landmarks, one, 1.0).image.astype(int).mean(axis=-1)
            for one in (person, locked)
        ]
        face = masks.face(template.landmarks, template.image.shape[:2]) > 0.5
        return ((lightness[1] - lightness[0])[face] < -25).mean()

    without = dark()
    monkeypatch.setattr(occlusion, "LOCK", (1e6, 2e6))
    assert dark() > 0.005  # the lock would come over, else this would prove nothing
    assert without < 0.4 * dark()  # landmarks moved by a pixel give 0.10 to 0.36


def test_a_photo_that_nods_otherwise_lends_more_of_its_shape_than_one_turned_away(person):
    width = face_width(person.landmarks)
    nodding, turned = person.landmarks.copy(), person.landmarks.copy()
    nodding[27:36, 1] += 0.2 * width
    turned[27:36, 0] += 0.25 * width
    here, there = pose.estimate_pose(person.landmarks), pose.estimate_pose(nodding)
    assert abs(here.pitch - there.pitch) > 14
    assert pose_agreement(nodding, person.landmarks) > 0.9 > 0.6 > pose_agreement(turned, person.landmarks)


def test_lips_keep_their_proportion_to_the_skin_in_dim_light():
    """Half the lightness leaves half the contrast: else lips on dark faces would be painted."""
    drawn, base = np.full((2, 120, 120, 3), (70, 15, 18), np.float32)
    base[:] = (35, 15, 18)
    lips = np.zeros((120, 120), np.float32)
    lips[75:85, 45:75] = 1
    drawn[lips > 0] = (55, 35, 18)
    lit = drawn + light.equalize(drawn, base, 1 - lips, np.ones_like(lips), 120)
    contrast = lit[80, 60] - lit[20, 60]
    assert contrast[0] == pytest.approx(-7.5, abs=1.5)
    assert contrast[1] == pytest.approx(10, abs=2)


def test_lips_and_brows_keep_their_proportion_to_the_skin_on_skin_of_another_color(bare, person):
    """The light and the skin's color are the template's, but how much darker lips and brows are is the person's."""
    face = masks.face(bare.landmarks, bare.image.shape[:2], -0.05, 0.02)[..., None]
    dark = (bare.image * (1 - 0.5 * face)).astype(np.uint8)

    def proportions(image, points):
        lightness, size = light.to_lab(image)[..., 0], image.shape[:2]
        skin = float(np.median(lightness[masks.bare(points, size) > 0.5]))
        lips = (masks.lips(points, size) > 0.6) & (masks.mouth(points, size, 0.01) < 0.2)
        brows = masks.soft([points[17:22], points[22:27]], points, size, 0.004, 0) > 0.5
        return skin, [float(np.median(lightness[part])) / skin for part in (lips, brows)]

    _, own = proportions(person.image, person.landmarks)
    for template in (bare.image, dark):
        fused = fuse(template, bare.landmarks, person, 1.0)
        skin, found = proportions(fused.image, fused.landmarks)
        assert skin == pytest.approx(proportions(template, bare.landmarks)[0], abs=6)
        assert found == pytest.approx(own, abs=0.1)


def test_a_blurred_template_gets_a_blurred_face(template, person):
    def fineness(picture, landmarks):
        edges = cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F)
        return edges[masks.face(landmarks, picture.shape[:2]) > 0.5].std()

    crisp = fuse(template.image, template.landmarks, person, 1.0)
    blurred = cv2.GaussianBlur(template.image, (0, 0), 3)
    soft = fuse(blurred, template.landmarks, person, 1.0)
    assert fineness(crisp.image, crisp.landmarks) > 0.85 * fineness(template.image, template.landmarks)
    assert fineness(soft.image, soft.landmarks) < 0.35 * fineness(crisp.image, crisp.landmarks)


def test_an_arched_brow_is_the_persons_as_a_whole(person):
    """Its peak lies where a forehead begins: the template's brow stayed there, above the person's."""
    points = person.landmarks.copy()
    points[[19, 24]] -= (points[8] - points[27]) * 0.12  # raised
    size = person.image.shape[:2]
    skin = 1 - masks.brows(points, size, 0.0, 0.0)
    drawn = np.full((*size, 3), (65, 12, 15), np.float32)
    usable = occlusion.usable_mask(points, drawn, np.ones(size, np.float32), skin)
    for brow in (points[17:22], points[22:27]):
        x, y = np.round(brow).astype(int).T
        assert usable[y, x].min() > 0.8


def test_dark_brows_on_a_short_forehead_are_no_fringe(person):
    """On a head that looks up, brows are most of what lies above them: they were erased as hair that hides them."""
    points = person.landmarks.copy()
    points[[19, 24]] -= (points[8] - points[27]) * 0.12  # raised
    size = person.image.shape[:2]
    dark = masks.brows(points, size)[..., None] > 0.5
    drawn = np.where(dark, (25, 5, 5), (65, 12, 15)).astype(np.float32)
    usable = occlusion.usable_mask(points, drawn, np.ones(size, np.float32), np.ones(size, np.float32))
    x, y = np.round(points[17:27]).astype(int).T
    assert np.median(usable[y, x]) > 0.8


def test_no_skin_is_drawn_beside_a_cheek_that_ends_before_its_outline(person):
    """On the far side of a turned head the background begins inside the outline, and got a smear of skin."""
    points, size = person.landmarks, person.image.shape[:2]
    cheek = round(points[2, 0] + 0.05 * face_width(points))
    skin = np.ones(size, np.float32)
    skin[:, :cheek] = 0
    sky = np.full((*size, 3), (60, -5, -20), np.float32)
    sky[:, cheek:] = (65, 12, 15)
    within = occlusion.within_outline(points, sky, skin)
    row = round(points[2, 1])
    assert within[row, round(points[2, 0])] < 0.1
    assert within[row, cheek + round(0.05 * face_width(points))] > 0.9
    x, y = points[30].round().astype(int)
    nowhere = occlusion.within_outline(points, sky, np.zeros(size, np.float32))
    assert nowhere[y, x] > 0.9, "a dark nose is no background"


def test_shade_and_a_brow_at_the_outline_are_the_faces_own(person):
    """A turned face's far brow reaches its outline, and stayed there as a second one; so did the shade at the jaw."""
    points, size = person.landmarks, person.image.shape[:2]
    base = np.full((*size, 3), (65, 12, 15), np.float32)
    skin = np.ones(size, np.float32)
    jaw, brow = points[5].round().astype(int), points[17].round().astype(int)
    below = slice(jaw[1] - 20, None)
    skin[below] = 0
    base[below] *= 0.55
    assert occlusion.within_outline(points, base, skin)[jaw[1], jaw[0]] > 0.8
    base[below] = (20, 0, -3)
    assert occlusion.within_outline(points, base, skin)[jaw[1], jaw[0]] < 0.2, "a collar is not"
    above = slice(None, brow[1] + 5)
    skin[above] = 0
    base[above] = (15, 2, 2)
    assert occlusion.within_outline(points, base, skin)[brow[1], brow[0]] > 0.8


def test_a_wall_that_is_a_little_like_dark_skin_is_background(person):
    points = person.landmarks
    size = person.image.shape[:2]
    face = masks.face(points, size, 0.0, 0.0)
    base = np.dstack([np.where(face > 0.5, 40, 70), np.where(face > 0.5, 14, 2), np.where(face > 0.5, 16, 4)])
    within = occlusion.within_outline(points, base.astype(np.float32), np.maximum(face, 0.37))
    jaw = np.round(points[[3, 13]] + [[-8, 0], [8, 0]]).astype(int)
    assert within[jaw[:, 1], jaw[:, 0]].max() < 0.5
