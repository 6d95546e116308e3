"""How an adapter is trained: every number with its reason, and defaults for each working size."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.models.diffusion import ModelProfile
from shared.settings import TrainSettings

REFERENCE_SIZE = 512  # pixels at which Stable Diffusion's noise schedule and min-SNR's gamma of 5 belong together
GAMMA = 5.0  # Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy" (2023)
SDXL: dict[str, Any] = {
    "rank": 8,  # 70 attention blocks instead of 16: as many weights as rank 28 on SD 1.5
    "alpha": 8,
    "batch": 1,  # 13 GB at 1024 px in bfloat16; four need a card of 40 GB
    "learning_rate": 1e-4,  # diffusers' and kohya's for a batch of one at this size
}
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
SMALL_PLAN: dict[str, Any] = {
    # one person, 400 steps, mean distance of 16 samples from noise: base 0.81; attention only 0.78 at 1e-3 and at 3e-3;
    # with the feed-forward layers 0.73; with convolutions too 0.72, for twice the weights; gamma 5 and 142 are level
    "targets": (*ATTENTION, "ff.net.0.proj", "ff.net.2"),
    "learning_rate": 3e-3,
    "crops": 4,
}
SMALL = 256  # working sizes up to here are the embedded model's kind: narrow layers, no cost per crop


class TrainingPlan(BaseModel):
    """The settings of one training; `suited` fills in what depends on the base model."""

    model_config = ConfigDict(frozen=True)

    rank: int = Field(16, ge=1, le=256, description="width of the adapter; 16 is 13 MB on SD 1.5, enough for one face")
    alpha: float = Field(16, gt=0, description="equal to the rank, so that the rate means the same at every rank")
    targets: tuple[str, ...] = Field(
        ATTENTION,
        description="attention only: one list for all adapters of a base model, so that they can be swapped in place",
    )
    learning_rate: float = Field(3e-4, gt=0, description="at batch 4; 1e-4 needs 800 steps or more for a likeness")
    batch: int = Field(4, ge=1, description="one pass of four costs a GPU little more than one pass of one")
    accumulation: int = Field(1, ge=1, description="passes of one update; more gives small memories a large batch")
    warm_up: int = Field(10, ge=0, description="steps until the full rate; AdamW's first steps are as long as its rate")
    final_rate: float = Field(0.1, gt=0, le=1, description="share of the rate that is left at the end of half a cosine")
    clip: float = Field(1.0, gt=0, description="norm of the gradient; a rare outlier may not undo the training")
    gamma: float = Field(GAMMA, gt=0, description="min-SNR: time steps with more signal than this do not count more")
    crops: int = Field(2, ge=1, description="crops of each photo in the cache, each also mirrored")
    outside: float = Field(0.1, ge=0, le=1, description="weight in the loss of what is not the head: some, for the rim")
    seed: int = Field(42, description="the same photos and seed give the same adapter on the same device")

    @property
    def pictures(self) -> int:
        """Pictures of one update."""
        return self.batch * self.accumulation

    @classmethod
    def suited(
        cls, working: ModelProfile, architecture: str = "sd15", wanted: TrainSettings | None = None
    ) -> "TrainingPlan":
        """The plan for a base model of this working size and architecture, but for what the settings want otherwise.

        A pixel of a small picture stands for many of a large one, so the same look needs (512 / size)^2 times the SNR
        (Hoogeboom et al., "simple diffusion", 2023); gamma moves along, up to Stable Diffusion's own value.
        """
        fitting: dict[str, Any] = {"gamma": GAMMA * max(1.0, REFERENCE_SIZE / working.size) ** 2}
        if working.size <= SMALL:
            fitting |= SMALL_PLAN
        if architecture == "sdxl":
            fitting |= SDXL
        otherwise = {} if wanted is None else wanted.model_dump(exclude_none=True)
        if "rank" in otherwise:
            fitting["alpha"] = otherwise["rank"]
        return cls(**fitting | otherwise)
