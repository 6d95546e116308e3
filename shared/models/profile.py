"""How to use a base model for faces: the profile in its `photog.json`, or its architecture's."""

from pydantic import BaseModel, ConfigDict, Field

PROFILE_FILE = "photog.json"  # beside `model_index.json`


class ModelProfile(BaseModel):
    """How to use a base model for faces: `photog.json` beside its `model_index.json`; the defaults suit SD 1.5."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(512, description="side in pixels of the square that the model works on")
    framing: float = Field(2.2, description="side of that square over the longer side of the face's box")
    guidance: float = Field(5.0, description="classifier-free guidance scale; 1 means none")
    guided: tuple[float, float] | None = Field(
        (0.7, 5.42), description="lowest and highest ratio of noise to signal with guidance; None means all"
    )
    most_steps: int | None = Field(None, description="steps of a distilled model's schedule; None means any number")
    pass_span: float | None = Field(
        None,
        gt=0,
        description="how far in the natural logarithm of noise over signal a pass of the network serves the steps "
        "after it; None means that each step has its own",
    )
    reference: bool = Field(
        False,
        description="the network also looks at the person's photo; off for architectures that cannot look at pictures",
    )
    prompt: str = Field("photo of {trigger} person", description="{trigger} stands for the user's trigger, or is empty")
    license: str | None = Field(None, description="name of the model's license; None looks for it in its README.md")
    negative_prompt: str = Field(
        "blurry, deformed, lowres", description="must not contain words that would remove glasses or age"
    )

    def is_guided(self, noise_over_signal: float) -> bool:
        """Return whether guidance matters at this ratio of noise to signal."""
        if self.guidance <= 1 or self.guided is None:
            return self.guidance > 1
        lowest, highest = self.guided
        return lowest < noise_over_signal <= highest
