"""The settings of a training, each with its reason, and their defaults by working size and architecture."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.models.architectures import ARCHITECTURES, ATTENTION
from shared.models.profile import ModelProfile
from shared.settings import TrainSettings

REFERENCE_SIZE = 512  # picture side in pixels at which a gamma of 5 suits Stable Diffusion's noise schedule
GAMMA = 5.0  # Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy" (2023)
SMALL_PLAN: dict[str, Any] = {
    # mean distance to the person of 16 samples from noise after 400 steps: base model 0.81; attention only 0.78, at
    # rates 1e-3 and 3e-3; with the feed-forward layers 0.73; with the convolutions as well 0.72, at twice the weights.
    # gamma 5 and gamma 142 do equally well
    "targets": (*ATTENTION, "ff.net.0.proj", "ff.net.2"),
    "learning_rate": 3e-3,
    "crops": 4,
    # on a CPU a pass costs what its pictures cost: 400 steps with 2 instead of 4 take 0.6 of the time, and the best
    # checkpoint's score on photos of six people that were held out is 0.356 against 0.349
    "batch": 2,
}
SMALL = 256  # largest working size of models like the embedded one, with narrow layers and almost free crops


class TrainingPlan(BaseModel):
    """The settings of one training; `for_model` chooses those that depend on the base model."""

    model_config = ConfigDict(frozen=True)

    rank: int = Field(16, ge=1, le=256, description="width of the adapter; 16 is 13 MB on SD 1.5, enough for one face")
    alpha: float = Field(16, gt=0, description="equal to the rank, so that a learning rate suits every rank")
    targets: tuple[str, ...] = Field(
        ATTENTION,
        description="attention only: the same modules for all adapters of a base model, so that they swap in place",
    )
    learning_rate: float = Field(3e-4, gt=0, description="for batch 4; 1e-4 takes 800 steps or more for a likeness")
    batch: int = Field(4, ge=1, description="pictures in a pass; a pass of four takes a GPU little longer than of one")
    accumulation: int = Field(1, ge=1, description="passes in an update; more of them need less memory for one batch")
    warm_up: int = Field(10, ge=0, description="steps to the full rate; AdamW's first steps are as large as its rate")
    final_rate: float = Field(0.1, gt=0, le=1, description="share of the rate that is left when the half cosine ends")
    clip: float = Field(1.0, gt=0, description="largest gradient norm, so that a rare outlier cannot undo the training")
    gamma: float = Field(GAMMA, gt=0, description="min-SNR: time steps with a higher SNR than this weigh no more")
    crops: int = Field(2, ge=1, description="crops of each photo in the cache, each also mirrored")
    outside: float = Field(0.1, ge=0, le=1, description="loss weight outside the head; above 0 for the head's outline")
    patience: int = Field(
        3,
        ge=0,
        description="checkpoints without a rise in likeness after which the training ends if the held-out loss rises",
    )
    seed: int = Field(42, description="the same photos and seed give the same adapter on the same device")

    @property
    def pictures(self) -> int:
        """Number of pictures in one update."""
        return self.batch * self.accumulation

    @classmethod
    def for_model(
        cls, working: ModelProfile, architecture: str = "sd15", wanted: TrainSettings | None = None
    ) -> "TrainingPlan":
        """Return the plan for a base model of this working size and architecture; `wanted` overrides the defaults.

        A pixel of a small picture stands for many pixels of a large one, so the same visible noise takes
        (512 / size)^2 times the SNR (Hoogeboom et al., "simple diffusion", 2023). gamma is scaled accordingly, but
        never below Stable Diffusion's 5.
        """
        defaults: dict[str, Any] = {"gamma": GAMMA * max(1.0, REFERENCE_SIZE / working.size) ** 2}
        if working.size <= SMALL:
            defaults |= SMALL_PLAN
        defaults |= ARCHITECTURES[architecture].training
        overrides = {} if wanted is None else wanted.model_dump(exclude_none=True)
        if "rank" in overrides:
            defaults["alpha"] = overrides["rank"]
        return cls(**defaults | overrides)
