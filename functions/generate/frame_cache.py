"""A cache of glasses' frames: tracing them is slow, and the same templates and photos are used again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from functions.generate.face_cache import digest
from functions.generate.fusion.landmark_fusion import find_frames
from shared.imaging.array_types import Image, Mask, Points
from shared.models.expiring_cache import Clock, ExpiringCache

FACES = 64  # in the cache; frames take 20 kB to some MB each, by the size of the face


@dataclass(frozen=True, eq=False)
class _Patch:
    """The part of a mask that is not 0."""

    mask: Mask
    left: int
    top: int
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask: Mask) -> "_Patch":
        left, top, width, height = cv2.boundingRect((mask != 0).astype(np.uint8))
        return cls(mask[top : top + height, left : left + width].copy(), left, top, (mask.shape[0], mask.shape[1]))

    def whole(self) -> Mask:
        mask = np.zeros(self.shape, np.float32)
        height, width = self.mask.shape
        mask[self.top : self.top + height, self.left : self.left + width] = self.mask
        return mask


class FrameCache:
    """Finds the frames of faces' glasses, those of the same face in the same picture once.

    It keeps neither pictures nor landmarks, and nothing longer than `ExpiringCache` keeps its entries.

    Args:
        find: as `functions.generate.fusion.landmark_fusion.find_frames`; replaced in tests.
        most: number of faces to keep.
        clock: replaced in tests.
    """

    def __init__(
        self,
        find: Callable[[Image, Points], Mask] = find_frames,
        most: int = FACES,
        clock: Clock = time.monotonic,
    ) -> None:
        self._find = find
        self._patches: ExpiringCache[bytes, _Patch] = ExpiringCache(most, clock=clock)

    def find_frames(self, image: Image, landmarks: Points) -> Mask:
        """Return the mask of the frames of the face's glasses, (H, W); all 0 if it has none.

        Args:
            image: RGB, uint8, (H, W, 3).
            landmarks: the face's, (68, 2), in pixels of `image`.
        """
        key = digest(image, landmarks)
        patch: _Patch | None = self._patches.get(key)
        if patch is None:
            patch = self._patches[key] = _Patch.of(self._find(image, landmarks))
        return patch.whole()

    def expire(self) -> None:
        """Drop the entries that have not been used for a while."""
        self._patches.expire()
