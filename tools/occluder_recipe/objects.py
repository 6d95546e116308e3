"""Objects painted before faces: hands, cups, pages, microphones, masks, hair, brims, neighbors, things of any kind.

All of them are painted on a canvas with an aligned face, whose landmarks say where a hand or a mask goes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from functions.generate.face.landmarks import face_width, with_forehead
from shared.imaging.array_types import Image, Mask, Points
from tools.occluder_recipe.brushes import (
    Canvas,
    Color,
    Cutout,
    add_texture,
    any_color,
    blob,
    curve,
    draw_strand,
    fill,
    gradient,
    noise,
    piece,
    put,
    shade,
    stroke,
    uniform,
)

# colors of hair, of paper and of what is drunk
HAIRS = [(25, 20, 18), (60, 40, 28), (110, 75, 45), (190, 150, 95), (150, 145, 140), (130, 60, 30), (220, 190, 140)]
PAPERS = [(246, 244, 240), (236, 228, 208), (214, 214, 212), (188, 178, 160), (150, 150, 150)]
DRINKS = [(60, 30, 15), (110, 65, 35), (190, 140, 95), (140, 70, 30), (235, 225, 210), (200, 40, 30), (230, 170, 60)]


@dataclass(frozen=True, eq=False)
class Scene:
    """A face that an object is to be painted before.

    Attributes:
        rng: the random numbers.
        canvas: the face, (H, W, 3).
        points: its landmarks, (68, 2).
        textures: pictures of which objects may be made.
        people: faces of others.
    """

    rng: np.random.Generator
    canvas: Canvas
    points: Points
    textures: list[Image]
    people: list[Image]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        return self.canvas.shape[0], self.canvas.shape[1]

    @property
    def width(self) -> float:
        """The face's width in pixels."""
        return face_width(self.points)


Painter = Callable[[Scene], Cutout]


def paint_object(scene: Scene) -> Cutout:
    """Return a random object before a face."""
    painters, odds = zip(*ODDS, strict=True)
    painter: Painter = painters[scene.rng.choice(len(painters), p=np.array(odds) / sum(odds))]
    cutout = painter(scene)
    if painter in HELD and scene.rng.random() < 0.35:
        cutout = _hold(scene, cutout)
    pixels = cutout.pixels * gradient(scene.rng, cutout.alpha.shape, scene.rng.normal(0, 0.3))[..., None]
    return Cutout(np.asarray(pixels, np.float32), cutout.alpha)


def hand(scene: Scene) -> Cutout:
    """A hand: some fingers side by side, with or without the palm, of the face's skin or another, sometimes gloved."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    skin = any_color(rng) if rng.random() < 0.08 else any_skin(scene)
    tip = inside(rng, points)
    back = _backwards(scene, tip)
    across = np.array([-back[1], back[0]])
    count = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.2, 0.2, 0.35]))
    thick, length = uniform(rng, 0.085, 0.15) * width, uniform(rng, 0.3, 0.75) * width
    palm = tip + back * (length + thick)
    painted = Cutout(np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32))
    if rng.random() < 0.75:
        painted = _palm(scene, palm, back, max(count, 2) * thick, skin)
    spread = uniform(rng, 0.0, 0.35)
    for number in rng.permutation(count):
        offset = number - (count - 1) / 2
        end = tip + across * offset * thick * (uniform(rng, 0.95, 1.1) + 2 * spread)
        end = end + back * abs(offset) * thick * uniform(rng, 0, 0.5)
        root = palm + across * offset * thick
        bend = (end + root) / 2 + across * rng.normal(0, 0.12) * length
        finger = _finger(scene, curve(end, bend, root), thick, skin * np.exp(rng.normal(0, 0.05)))
        edge = cv2.GaussianBlur(finger.alpha, (0, 0), max(0.5, 0.08 * thick))
        shadow = 1 - 0.35 * edge * (1 - finger.alpha)  # on its neighbor
        pixels = put(np.asarray(painted.pixels * shadow[..., None], np.float32), finger)
        painted = Cutout(pixels, np.maximum(painted.alpha, finger.alpha))
    grain = noise(rng, shape, uniform(rng, 1, 6))[..., None] * uniform(rng, 0, 0.04)
    return Cutout(np.asarray(painted.pixels * np.exp(grain), np.float32), painted.alpha)


def _hold(scene: Scene, held: Cutout) -> Cutout:
    """Return the object with the fingers that hold it: from one side around it, or a thumb before its edge."""
    rng, width = scene.rng, scene.width
    y, x = np.nonzero(held.alpha > 0.5)
    if len(x) == 0:
        return held
    low = np.flatnonzero(y >= np.quantile(y, uniform(rng, 0.3, 0.9)))
    number = low[rng.integers(len(low))]
    side = 1.0 if x[number] > x.mean() else -1.0
    tip = np.array([x[number], y[number]]) - np.array([side * uniform(rng, 0, 0.15) * width, 0])
    angle = rng.normal(0.3, 0.35)
    back = np.array([side * np.cos(angle), np.sin(angle)])
    across, skin = np.array([-back[1], back[0]]), any_skin(scene)
    thick, length = uniform(rng, 0.085, 0.14) * width, uniform(rng, 0.3, 0.6) * width
    painted = held
    for finger in range(int(rng.choice([1, 3, 4]))):
        end = tip + across * finger * thick * uniform(rng, 0.95, 1.1) + back * uniform(rng, 0, 0.3) * thick
        root = end + back * length
        bend = (end + root) / 2 - across * uniform(rng, 0, 0.15) * length
        drawn = _finger(scene, curve(end, bend, root), thick, skin * np.exp(rng.normal(0, 0.05)))
        painted = Cutout(put(painted.pixels, drawn), np.maximum(painted.alpha, drawn.alpha))
    return painted


def _backwards(scene: Scene, tip: Points) -> Points:
    """Return the direction from the fingertips to the arm: mostly outwards, as hands come from outside of the face."""
    rng, outwards = scene.rng, tip - scene.points.mean(axis=0)
    angle = uniform(rng, 0, 2 * np.pi)
    if rng.random() < 0.8:
        far = np.hypot(*outwards) > 0.1 * scene.width
        angle = (np.arctan2(outwards[1], outwards[0]) if far else uniform(rng, 0.5, 2.6)) + rng.normal(0, 0.5)
    return np.array([np.cos(angle), np.sin(angle)])


def _palm(scene: Scene, palm: Points, back: Points, width: float, skin: Color) -> Cutout:
    """The palm of a hand with its arm, sometimes in a sleeve."""
    rng, across, far = scene.rng, np.array([-back[1], back[0]]), palm + back * 2.0 * scene.width
    outline = blob(rng, palm + back * width * 0.5, width * uniform(rng, 0.55, 0.8), 0.12)
    wrist = width * uniform(rng, 0.35, 0.5)
    alpha = fill(scene.shape, [outline, _bar(palm, far, across * wrist)])
    pixels = shade(rng, alpha, skin, uniform(rng, 0.15, 0.5))
    if rng.random() < 0.4:
        begin = palm + back * uniform(rng, 0.3, 0.8) * scene.width
        sleeve = fill(scene.shape, [_bar(begin, far, across * wrist * uniform(rng, 1.1, 1.8))])
        pixels = put(pixels, Cutout(add_texture(rng, shade(rng, sleeve, any_color(rng)), scene.textures), sleeve))
        alpha = np.maximum(alpha, sleeve)
    return Cutout(pixels, alpha)


def _finger(scene: Scene, line: Points, thick: float, tone: Color) -> Cutout:
    """A finger along a line from its tip, with creases, and often with a nail."""
    rng, along = scene.rng, line[-1] - line[0]
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-3) * thick
    alpha = stroke(scene.shape, line, thick)
    pixels = shade(rng, alpha, tone, uniform(rng, 0.2, 0.55))
    for joint in (0.35, 0.65):
        at = line[int(joint * (len(line) - 1))]
        crease = stroke(scene.shape, np.stack([at - 0.4 * across, at + 0.4 * across]), max(1, thick * 0.06))
        pixels = pixels * (1 - 0.2 * crease[..., None])
    if rng.random() < 0.6:
        nail = np.zeros(scene.shape, np.uint8)
        turned = float(np.degrees(np.arctan2(along[1], along[0])))
        axes = max(1, round(thick * 0.32)), max(1, round(thick * 0.24))
        cv2.ellipse(nail, (round(line[1, 0]), round(line[1, 1])), axes, turned, 0, 360, 255, -1, cv2.LINE_AA)
        paint = any_color(rng) if rng.random() < 0.3 else np.clip(1.11 * tone, 0, 255)
        shine = nail.astype(np.float32)[..., None] / 255
        pixels = pixels * (1 - shine) + paint * shine
    return Cutout(np.asarray(pixels, np.float32), alpha)


def _bar(begin: Points, end: Points, half: Points) -> Points:
    """Return the corners of a straight bar, (4, 2)."""
    return np.stack([begin + half, end + half, end - half, begin - half])


def microphone(scene: Scene) -> Cutout:
    """A microphone: a ball of wire or foam, and its handle."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    center = points[57] + rng.normal(0, 0.12, 2) * width + np.array([0, 0.08]) * width
    radius = uniform(rng, 0.08, 0.24) * width
    angle = rng.normal(np.pi / 2, 0.6)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    head = blob(rng, center, radius, 0.02) if rng.random() < 0.8 else blob(rng, center, radius, 0.1)
    near, far = radius * uniform(rng, 0.35, 0.8), radius * uniform(rng, 0.35, 0.8)
    end = center + along * 3 * width
    handle = np.stack([center + across * near, end + across * far, end - across * far, center - across * near])
    ball, grip = fill(shape, [head]), fill(shape, [handle])
    dark = np.full(3, uniform(rng, 12, 70), np.float32)
    color = dark if rng.random() < 0.6 else any_color(rng)
    spot = np.exp(-np.square(distance(shape, center + rng.normal(0, 0.4, 2) * radius) / (0.7 * radius)))
    surface = shade(rng, ball, color, 0.6) + spot[..., None] * uniform(rng, 0, 110)
    if rng.random() < 0.6:
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        period = uniform(rng, 2.5, 6)
        wire = np.sin(2 * np.pi * (x + y) / period) * np.sin(2 * np.pi * (x - y) / period)
        surface = surface * np.exp(uniform(rng, 0.1, 0.5) * wire)[..., None]
    stem = add_texture(rng, shade(rng, grip, dark if rng.random() < 0.7 else any_color(rng)), scene.textures)
    pixels = stem * (1 - ball[..., None]) + surface * ball[..., None]
    return Cutout(np.asarray(pixels, np.float32), np.maximum(ball, grip))


def cup(scene: Scene) -> Cutout:
    """A cup, a glass, a can or a bottle, held before the mouth or the cheek, seen from the side or from above."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    above = rng.random() < 0.3
    top = points[62] + rng.normal(0, 0.16, 2) * width
    half, length = uniform(rng, 0.1, 0.32) * width, uniform(rng, 0.3, 0.9) * width
    if above:
        length = half * uniform(rng, 0.5, 1.4)
    taper, tilt = uniform(rng, 0.6, 1.15), rng.normal(0, 0.25)
    down, across = np.array([np.sin(-tilt), np.cos(tilt)]), np.array([np.cos(tilt), np.sin(tilt)])
    flat = half * (uniform(rng, 0.4, 0.8) if above else uniform(rng, 0.08, 0.35))
    angles = np.linspace(0, np.pi, 16)
    bottom = top + down * length
    lower = bottom + np.cos(angles)[:, None] * across * half * taper + np.sin(angles)[:, None] * down * flat
    wall = fill(shape, [np.vstack([top + across * half, lower, top - across * half])])
    circle = np.linspace(0, 2 * np.pi, 32)
    ellipse = np.cos(circle)[:, None] * across * half + np.sin(circle)[:, None] * down * flat
    rim = fill(shape, [top + ellipse])
    side = side_of(shape, top, across) / half
    light = 1 - 0.4 * np.square(np.clip(side - rng.normal(0, 0.5), -1.4, 1.4)) * uniform(rng, 0.3, 1)
    glaze = _glaze(scene)
    body = np.broadcast_to(glaze, (*shape, 3))
    pixels = (add_texture(rng, body, scene.textures) if rng.random() < 0.5 else body) * light[..., None]
    if rng.random() < 0.4:  # a label or a band
        band = np.abs(side_of(shape, top + down * length * uniform(rng, 0.2, 0.8), down)) < length * uniform(
            rng, 0.05, 0.2
        )
        pixels = np.where(band[..., None], any_color(rng) * light[..., None], pixels)
    inner = glaze * uniform(rng, 0.3, 1.1) if rng.random() < 0.5 else any_color(rng) * uniform(rng, 0.2, 0.9)
    pixels = pixels * (1 - rim[..., None]) + inner * rim[..., None]
    if above or rng.random() < 0.2:  # what is in it
        full = uniform(rng, 0.6, 0.92)
        drink = fill(shape, [top + down * flat * uniform(rng, 0, 0.15) + full * ellipse])[..., None]
        foam = np.exp(noise(rng, shape, uniform(rng, 3, 15))[..., None] * uniform(rng, 0, 0.3))
        pixels = pixels * (1 - drink) + np.array(DRINKS[rng.integers(len(DRINKS))], np.float32) * foam * drink
    edge = np.clip(cv2.dilate(rim, np.ones((3, 3))) - cv2.erode(rim, np.ones((3, 3))), 0, 1)[..., None]
    pixels = pixels * (1 - edge) + np.clip(pixels * uniform(rng, 1.0, 1.5) + 10, 0, 255) * edge
    painted = Cutout(np.asarray(pixels, np.float32), np.maximum(wall, rim))
    if rng.random() < 0.7:
        beside = across * half * (1 if rng.random() < 0.5 else -1)
        painted = _add_handle(scene, painted, top + down * length * 0.45 + beside, 0.5 * max(length, half), glaze)
    return painted


def _glaze(scene: Scene) -> Color:
    """Return a color of a cup: any, white, or one that skin could have."""
    rng, kind = scene.rng, scene.rng.random()
    if kind < 0.3:
        return any_skin(scene)
    if kind < 0.5:
        return np.clip(np.array([228, 222, 212]) * np.exp(rng.normal(0, 0.12)), 0, 255).astype(np.float32)
    return any_color(rng)


def _add_handle(scene: Scene, cup: Cutout, at: Points, size: float, glaze: Color) -> Cutout:
    """Return a cup with a handle behind it, whose middle is at its side; face or background show through it."""
    rng, shape = scene.rng, scene.shape
    circle = np.linspace(0, 2 * np.pi, 32)
    turn, edged = rng.normal(0, 0.2), uniform(rng, 0.5, 1.0)  # from an angular handle to a round one
    x, y = (np.sign(one) * np.abs(one) ** edged for one in (np.cos(circle), np.sin(circle)))
    x, y = uniform(rng, 0.5, 1.0) * size * x, uniform(rng, 0.6, 1.0) * size * y
    ring = at + np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    handle = stroke(shape, np.vstack([ring, ring[:1]]), uniform(rng, 0.03, 0.08) * scene.width)
    handle = handle * (1 - cup.alpha)
    pixels = shade(rng, handle, glaze * np.exp(rng.normal(0, 0.12)), uniform(rng, 0, 0.5))
    share = (handle > cup.alpha).astype(np.float32)[..., None]
    return Cutout(cup.pixels * (1 - share) + pixels * share, np.maximum(cup.alpha, handle))


def page(scene: Scene) -> Cutout:
    """A page, an open book, a newspaper, a card or a phone, before the chin, the mouth or a cheek."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    long = uniform(rng, 0.35, 1.3) * width
    high, wide = long * uniform(rng, 0.5, 1.0), long
    if rng.random() < 0.5:
        high, wide = wide, high
    flat = _print_page(scene, max(8, round(2 * high)), max(8, round(2 * wide)))
    angle = rng.normal(0, 0.4)
    u, v = np.array([np.cos(angle), np.sin(angle)]) * wide / 2, np.array([-np.sin(angle), np.cos(angle)]) * high / 2
    middle = points[8] + (points[27] - points[8]) * uniform(rng, -0.2, 0.35) + rng.normal(0, 0.16, 2) * width
    middle = middle + v * uniform(rng, 0, 0.8)  # its upper part, more often, is before the face
    corners = middle + np.stack([-u - v, u - v, u + v, v - u]) + rng.normal(0, 0.03, (4, 2)) * width
    size = np.array([[0, 0], [flat.shape[1], 0], flat.shape[1::-1], [0, flat.shape[0]]], np.float32)
    onto = cv2.getPerspectiveTransform(size, corners.astype(np.float32))
    pixels = cv2.warpPerspective(flat, onto, shape[::-1], flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return Cutout(np.asarray(pixels, np.float32), fill(shape, [corners]))


def _print_page(scene: Scene, height: int, width: int) -> Canvas:
    """Return a page seen straight on, (height, width, 3): paper, lines of words, a picture, a fold, a border."""
    rng = scene.rng
    paper = np.array(PAPERS[rng.integers(len(PAPERS))], np.float32) if rng.random() < 0.7 else any_color(rng)
    flat = np.tile(np.clip(paper * np.exp(rng.normal(0, 0.1)), 0, 255), (height, width, 1)).astype(np.float32)
    ink = any_color(rng) * 0.4 if rng.random() < 0.8 else any_color(rng)
    ink = (paper + (ink - paper) * uniform(rng, 0.3, 1.0)).tolist()
    if rng.random() < 0.8:
        edge, step = uniform(rng, 0.02, 0.15) * width, uniform(rng, 4, 16)
        for row in np.arange(uniform(rng, 0.02, 0.3) * height, height - step, step):
            left = edge
            while left < width - edge:
                right = min(left + step * uniform(rng, 0.6, 4), width - edge)
                cv2.line(flat, (round(left), round(row)), (round(right), round(row)), ink, max(1, round(step * 0.35)))
                left = right + step * 0.5
            if rng.random() < 0.08:
                edge = uniform(rng, 0.02, 0.15) * width
    if rng.random() < 0.35:
        top, left = (int(side * uniform(rng, 0, 0.5)) for side in (height, width))
        down, across = max(4, int(height * uniform(rng, 0.2, 0.5))), max(4, int(width * uniform(rng, 0.2, 0.5)))
        part = flat[top : top + down, left : left + across]
        part[:] = piece(rng, scene.textures, part.shape)
    if rng.random() < 0.3:  # an open book
        fold = np.abs(np.linspace(-1, 1, width) - rng.normal(0, 0.2))
        flat *= (1 - uniform(rng, 0.2, 0.7) * np.exp(-np.square(fold / 0.12)))[None, :, None]
    if rng.random() < 0.3:
        border = max(1, round(uniform(rng, 0.01, 0.08) * width))
        cv2.rectangle(flat, (0, 0), (width - 1, height - 1), any_color(rng).tolist(), border)
    return flat


def mask(scene: Scene) -> Cutout:
    """A mask over nose and mouth, or a scarf, or a mask that has slipped below the nose."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    bridge = points[27] + (points[30] - points[27]) * uniform(rng, 0.1, 1.3)
    if rng.random() < 0.12:
        bridge = points[33] + (points[51] - points[33]) * uniform(rng, 0.2, 0.9)
    first = int(rng.integers(1, 4))
    jaw = points[first : 17 - first]
    middle = points[27:31].mean(axis=0)
    jaw = middle + (jaw - middle) * uniform(rng, 0.97, 1.12)
    sag = uniform(rng, -0.02, 0.1) * width
    down = (points[8] - points[27]) / np.linalg.norm(points[8] - points[27])
    sides = [
        curve(jaw[-1], (jaw[-1] + bridge) / 2 + down * sag, bridge),
        curve(bridge, (jaw[0] + bridge) / 2 + down * sag, jaw[0]),
    ]
    outline = np.vstack([jaw, *sides])
    scarf = rng.random() < 0.2
    outlines = [outline]
    if scarf:
        far = points[8] + down * width
        outlines.append(np.vstack([jaw[0], jaw[-1], far + (jaw[-1] - jaw[0]), far - (jaw[-1] - jaw[0])]))
    alpha = fill(shape, outlines)
    common = [(238, 240, 242), (170, 205, 225), (90, 160, 200), (25, 25, 28), (120, 190, 180), (245, 245, 245)]
    color = np.array(common[rng.integers(len(common))], np.float32) if rng.random() < 0.65 else any_color(rng)
    pixels = shade(rng, alpha, color * np.exp(rng.normal(0, 0.12)), uniform(rng, 0.1, 0.5))
    if rng.random() < 0.3:
        pixels = add_texture(rng, pixels, scene.textures)
    folds = int(rng.integers(0, 5))
    for _ in range(folds):
        height = uniform(rng, 0.15, 0.9)
        left, right = points[2] * (1 - height) + points[5] * height, points[14] * (1 - height) + points[11] * height
        bend = (left + right) / 2 + down * uniform(rng, -0.1, 0.2) * width
        fold = cv2.GaussianBlur(stroke(shape, curve(left, bend, right), 0.015 * width + 1), (0, 0), 0.8)[..., None]
        pixels = pixels * (1 - uniform(rng, 0.1, 0.4) * fold) + 8 * np.roll(fold, 2, axis=0)
    crumple = noise(rng, shape, uniform(rng, 6, 25))[..., None] * uniform(rng, 0, 0.1)
    pixels = pixels * np.exp(crumple)
    if not scarf and rng.random() < 0.7:
        for start, ear in ((jaw[0], points[0]), (jaw[-1], points[16])):
            strap = stroke(
                shape, curve(start, (start + ear) / 2 + down * rng.normal(0, 0.03) * width, ear), 0.02 * width + 1
            )
            alpha = np.maximum(alpha, strap)
    return Cutout(np.asarray(pixels, np.float32), alpha)


def hair(scene: Scene) -> Cutout:
    """Locks of hair across the cheek, over an eye, down the forehead, or the whole of one side."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    top = with_forehead(points)[68:]
    skull = top.mean(axis=0)
    if rng.random() < 0.6:
        seen = np.clip(np.round(skull - (points[8] - skull) * 0.12), 0, np.array(shape[::-1]) - 1).astype(int)
        color = scene.canvas[seen[1], seen[0]].copy()
    else:
        color = np.array(HAIRS[rng.integers(len(HAIRS))], np.float32) * np.exp(rng.normal(0, 0.15))
    alpha, pixels = np.zeros(shape, np.uint8), np.zeros((*shape, 3), np.uint8)
    side = 1 if rng.random() < 0.5 else -1
    start = skull + np.array([side * uniform(rng, -0.2, 0.5), uniform(rng, -0.15, 0.05)]) * width
    kind = rng.random()
    if kind < 0.3:  # a fringe
        count, spread = int(rng.integers(5, 14)), uniform(rng, 0.25, 0.5)
        ends = [
            skull + np.array([x * width, uniform(rng, 0.1, 0.4) * width]) for x in np.linspace(-spread, spread, count)
        ]
        starts = [skull + np.array([x * width * 0.8, -0.2 * width]) for x in np.linspace(-spread, spread, count)]
    else:
        end = points[4 if side < 0 else 12] + rng.normal(0, 0.15, 2) * width
        count = int(rng.integers(1, 5)) if kind < 0.75 else int(rng.integers(5, 14))
        across = uniform(rng, 0.02, 0.06) * width
        ends = [end + np.array([side * number * across, rng.normal(0, 0.1) * width]) for number in range(count)]
        starts = [start + np.array([side * number * across * 0.7, 0]) for number in range(count)]
    thick = uniform(rng, 0.015, 0.08) * width
    bow = rng.normal(0, 0.15) * width
    for begin, finish in zip(starts, ends, strict=True):
        bend = (begin + finish) / 2 + np.array([side * bow + rng.normal(0, 0.04) * width, 0])
        for _ in range(int(rng.integers(4, 9))):  # its strands
            shift = rng.normal(0, 0.35, 2) * thick
            line = curve(begin + shift, bend + shift * uniform(rng, 0.5, 1.5), finish + shift * uniform(rng, 0, 1.3))
            thin = max(1, round(thick * uniform(rng, 0.15, 0.6)))
            tone = [float(level) for level in np.clip(color * np.exp(rng.normal(0, 0.25)), 0, 255)]
            draw_strand(pixels, line, thin + 1, tone)
            draw_strand(alpha, line, thin, [255.0])
    strands = pixels.astype(np.float32)
    if rng.random() < 0.35:  # the hair of a portrait, tinted
        real = _hair_of(rng, scene.people, shape)
        gray = real.mean(axis=2, keepdims=True)
        strands = real if rng.random() < 0.5 else color * gray / max(float(gray.mean()), 1.0)
    return Cutout(strands, alpha.astype(np.float32) / 255)


def _hair_of(rng: np.random.Generator, people: list[Image], shape: tuple[int, int]) -> Canvas:
    """Return a canvas filled with what lies above the forehead of somebody: hair, mostly."""
    person = people[rng.integers(len(people))]
    side = person.shape[0]
    left = int(uniform(rng, 0.25, 0.5) * side)
    return piece(rng, [person[: int(0.17 * side), left : left + side // 4]], shape)


def brim(scene: Scene) -> Cutout:
    """The brim or peak of a hat, a helmet, a hood or a headscarf, and all that is above it."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    up = points[27] - points[8]
    up = up / np.linalg.norm(up)
    across = np.array([-up[1], up[0]])
    brows = points[17:27].mean(axis=0)
    tilt, bow = rng.normal(0, 0.12) * width, rng.normal(0.0, 0.14) * width
    middle = brows + up * uniform(rng, -0.13, 0.25) * width
    reach = uniform(rng, 0.5, 0.9) * width
    left, right = middle - across * reach + up * tilt, middle + across * reach - up * tilt
    low = curve(left, middle - up * bow * 2, right, 24)
    alpha = fill(shape, [np.vstack([low, right + up * 3 * width, left + up * 3 * width])])
    if rng.random() < 0.25:  # a hood: down beside the cheeks too
        inner = uniform(rng, 0.3, 0.45) * width
        for sign in (-1, 1):
            edge = curve(
                middle + sign * across * inner,
                points[8] * 0.5 + middle * 0.5 + sign * across * inner * 1.25,
                points[8] + sign * across * inner * 0.9,
            )
            outer = [points[8] + sign * across * 2 * width, middle + sign * across * 2 * width]
            alpha = np.maximum(alpha, fill(shape, [np.vstack([edge, *outer])]))
    pixels = add_texture(rng, shade(rng, alpha, any_color(rng), uniform(rng, 0, 0.4)), scene.textures)
    if rng.random() < 0.6:  # the edge of the brim
        rim = stroke(shape, low + up * 0.015 * width, uniform(rng, 0.01, 0.06) * width)[..., None]
        pixels = pixels * (1 - rim) + any_color(rng) * rim
    if rng.random() < 0.4:  # the crown behind the brim
        crown = fill(
            shape,
            [np.vstack([low, right + up * 3 * width, left + up * 3 * width]) + up * uniform(rng, 0.05, 0.25) * width],
        )
        other = add_texture(rng, shade(rng, crown, any_color(rng)), scene.textures)
        pixels = pixels * (1 - crown[..., None]) + other * crown[..., None]
    return Cutout(np.asarray(pixels, np.float32), alpha)


def thing(scene: Scene) -> Cutout:
    """A thing of any shape, color and texture: a book, a phone, a leaf, a ball, a sleeve."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    center = inside(rng, points, 0.55)
    kind = rng.random()
    if kind < 0.45:
        outlines = [blob(rng, center, uniform(rng, 0.08, 0.4) * width, 0.15)]
    elif kind < 0.75:
        long, short = np.sort(rng.uniform(0.12, 0.8, 2))[::-1] * width / 2
        angle = uniform(rng, 0, np.pi)
        u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        outlines = [
            np.stack(
                [
                    center + u * long + v * short,
                    center - u * long + v * short,
                    center - u * long - v * short,
                    center + u * long - v * short,
                ]
            )
        ]
    elif kind < 0.9:  # a stick, a pen, a flute, a stem
        angle = uniform(rng, 0, 2 * np.pi)
        u = np.array([np.cos(angle), np.sin(angle)])
        v = np.array([-u[1], u[0]]) * uniform(rng, 0.01, 0.06) * width
        outlines = [np.stack([center + v, center + u * 2 * width + v, center + u * 2 * width - v, center - v])]
    else:  # a half of the picture: a door, a wall, a neighbor
        angle = uniform(rng, 0, 2 * np.pi)
        u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        middle = points.mean(axis=0) + u * uniform(rng, 0.1, 0.45) * width
        outlines = [
            np.stack(
                [
                    middle + v * 3 * width,
                    middle + (u + v) * 3 * width,
                    middle + (u - v) * 3 * width,
                    middle - v * 3 * width,
                ]
            )
        ]
    alpha = fill(shape, outlines)
    pixels = add_texture(rng, shade(rng, alpha, any_color(rng), uniform(rng, 0, 0.6)), scene.textures)
    return Cutout(np.asarray(pixels, np.float32), alpha)


def flesh(scene: Scene) -> Cutout:
    """An arm, a fist or another's head, near in color to the face: skin of another person, or of this one."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    outline = blob(rng, inside(rng, points, 0.6), uniform(rng, 0.12, 0.4) * width, 0.12)
    alpha = fill(shape, [outline])
    if rng.random() < 0.5:
        pixels = piece(rng, scene.people, scene.canvas.shape)
    else:
        pixels = shade(rng, alpha, any_skin(scene), uniform(rng, 0.1, 0.6))
        pixels = pixels * np.exp(noise(rng, shape, uniform(rng, 5, 30))[..., None] * uniform(rng, 0, 0.15))
    return Cutout(np.asarray(pixels, np.float32), alpha)


def neighbor(scene: Scene) -> Cutout:
    """Another's head that touches the face or hides its side: hair with its strands, or a whole face."""
    rng, points, shape, width = scene.rng, scene.points, scene.shape, scene.width
    edge = points[rng.choice([1, 2, 3, 4, 5, 11, 12, 13, 14, 15])]
    out = edge - points[27:36].mean(axis=0)
    out = out / np.linalg.norm(out) + rng.normal(0, 0.25, 2)
    radius = uniform(rng, 0.25, 0.65) * width
    center = edge + out * (radius - uniform(rng, -0.02, 0.3) * width)
    outline = blob(rng, center, radius * 1.15, 0.05)
    alpha = fill(shape, [outline])
    kind = rng.random()
    if kind < 0.4:
        pixels = _hair_of(rng, scene.people, shape)
    elif kind < 0.75:
        browns = np.array(HAIRS[rng.integers(len(HAIRS))], np.float32) * np.exp(rng.normal(0, 0.2))
        pixels = browns * np.exp(_strands(rng, shape) * uniform(rng, 0.1, 0.4))[..., None]
    else:
        pixels = piece(rng, scene.people, (*shape, 3))
    if rng.random() < 0.5:  # single hairs stick out
        near = cv2.GaussianBlur(alpha, (0, 0), uniform(rng, 1, 4))
        ragged = near + 2 * near * (1 - near) * _strands(rng, shape)
        alpha = np.clip(3 * (ragged - 0.5) + 0.5, 0, 1).astype(np.float32)
    return Cutout(np.asarray(np.clip(pixels, 0, 255), np.float32), alpha)


def _strands(rng: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """Return noise with mean 0 and deviation 1, (H, W), that is drawn out in one direction, as hair is."""
    size = 2 * max(shape)
    fine = rng.normal(0, 1, (size, size)).astype(np.float32)
    long = cv2.GaussianBlur(fine, (0, 0), sigmaX=uniform(rng, 6, 20), sigmaY=uniform(rng, 0.5, 1.5))
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), uniform(rng, 0, 180), 1.0)
    turn[:, 2] -= (size - np.array(shape[::-1])) / 2
    drawn = cv2.warpAffine(long, turn, shape[::-1], flags=cv2.INTER_LINEAR)
    return np.asarray(drawn / max(float(drawn.std()), 1e-6), np.float32)


ODDS: list[tuple[Painter, float]] = [
    (hand, 0.23),
    (flesh, 0.06),
    (neighbor, 0.12),
    (microphone, 0.07),
    (cup, 0.17),
    (page, 0.10),
    (mask, 0.09),
    (hair, 0.15),
    (brim, 0.10),
    (thing, 0.11),
]
HELD = (cup, page, microphone, thing)


def any_skin(scene: Scene) -> Color:
    """Return the color of this face's skin, mostly, or of another's, a little lighter, darker or redder."""
    rng, points, canvas = scene.rng, scene.points, scene.canvas
    cheeks = [points[[1, 2, 31, 40]].mean(axis=0), points[[14, 15, 35, 47]].mean(axis=0), points[27:30].mean(axis=0)]
    x, y = np.clip(np.round(cheeks[rng.integers(3)]), 2, np.array(scene.shape[::-1]) - 3).astype(int)
    own = np.median(canvas[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3), axis=0)
    if rng.random() < 0.25:
        other = scene.people[rng.integers(len(scene.people))]
        own = np.median(other[other.shape[0] // 2 :][:20].reshape(-1, 3), axis=0)
    shifted = own * np.exp(rng.normal(0, 0.14)) * np.exp(rng.normal(0, 0.04, 3))
    return np.clip(shifted, 5, 250).astype(np.float32)


def inside(rng: np.random.Generator, points: Points, reach: float = 0.42) -> Points:
    """Return a random place on the face."""
    width = face_width(points)
    angle, radius = uniform(rng, 0, 2 * np.pi), np.sqrt(rng.random()) * reach * width
    return np.asarray(points[27:36].mean(axis=0) + radius * np.array([np.cos(angle), 1.1 * np.sin(angle)]))


def distance(shape: tuple[int, ...], at: Points) -> Mask:
    """Return each pixel's distance from a point, (H, W)."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.asarray(np.hypot(x - at[0], y - at[1]), np.float32)


def side_of(shape: tuple[int, ...], at: Points, direction: Points) -> Mask:
    """Return how far each pixel lies from a point in a direction, (H, W)."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.asarray((x - at[0]) * direction[0] + (y - at[1]) * direction[1], np.float32)
