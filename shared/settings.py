"""All settings with their defaults and the reason for each, read from PHOTOG_* environment variables.

Groups nest with two underscores: PHOTOG_LEASE__SECONDS=5, PHOTOG_MODEL__PATH=/models/sd15.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.buckets.aws_clients import S3Settings, SqsSettings
from shared.observability.logs import LogSettings
from shared.observability.metrics_settings import MetricsSettings

MEBIBYTE = 1024 * 1024


class Limits(BaseModel):
    """Size and time limits; the defaults are those of the hosted product."""

    manifest_bytes: int = Field(20480 * 1024, description="of a manifest; the hosted product's max_payload_size_kb")
    answer_bytes: int = Field(20480 * 1024, description="of an answer; a picture that does not fit becomes a key")
    photo_bytes: int = Field(50 * MEBIBYTE, description="of one picture file; a large JPEG from a phone has 20 MB")
    photo_pixels: int = Field(100_000_000, description="of one decoded picture; 300 MB of RGB")
    fetch_seconds: float = Field(30.0, description="to fetch one picture over the network, connection and body")
    request_seconds: float = Field(3600.0, description="for one request; the hosted product's keepalive")


class Lease(BaseModel):
    """Timing of claims; see `claims.py`."""

    seconds: float = Field(15.0, gt=0, description="a worker beats every third of it; another takes over after two")
    attempts: int = Field(3, ge=1, description="processes that may die on a request before it gets an error answer")
    drain_seconds: float = Field(110.0, description="time to finish a request after SIGTERM; ECS kills after 120")


class Scan(BaseModel):
    """How a watched folder is scanned."""

    seconds: float = Field(2.0, gt=0, description="longest time between two scans, whatever the watcher reports")
    settle_seconds: float = Field(5.0, description="how long an unreadable manifest counts as half-written")


class FaceSettings(BaseModel):
    """The face engine, and which faces of a photo count."""

    engine: Literal["mesh", "dlib", "insightface"] = Field(
        "mesh",
        description="mesh is embedded, runs anywhere and may be used commercially; dlib's landmarks may not be, it is "
        "for users who were trained with it; insightface is the gpu profile's and ships no weights",
    )
    model: str = Field(
        "buffalo_l", description="for insightface: a folder of .onnx files, or the name of one in ~/.insightface/models"
    )
    provider: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="onnxruntime's provider for mesh, insightface, the fuser and the people network: auto uses CUDA if "
        "it is available, cuda fails if it is not",
    )
    intra_threads: int = Field(
        0, ge=0, description="onnxruntime's CPU threads within one operation; 0 is one per core, too many beside torch"
    )
    inter_threads: int = Field(
        1, ge=0, description="onnxruntime's parallel operations; these networks are chains, so more only costs memory"
    )
    device_id: int | None = Field(
        None, ge=0, description="onnxruntime's GPU; None takes it from PHOTOG_MODEL__DEVICE (1 for cuda:1), else 0"
    )
    arena_mebibytes: int = Field(
        2048,
        gt=0,
        description="GPU memory that each onnxruntime network may hold, since torch needs the rest; the largest file "
        "of buffalo_l has 174 MB",
    )
    arena_extend_strategy: Literal["kSameAsRequested", "kNextPowerOfTwo"] = Field(
        "kSameAsRequested", description="how that memory grows: as needed, or by powers of two (onnxruntime's default)"
    )
    ignored_face: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="another face does not cause code 3 if its side is at most this share of the largest face's and it "
        "is further away from it than the largest face is wide; 0 is the hosted product's rule: exactly one face",
    )


class ControlSettings(BaseModel):
    """One ControlNet beside the base model, and its weight in each diffusion."""

    kind: Literal["canny", "pose", "tile"] = Field(description="conditioned on edges, landmarks or the picture")
    path: str = Field(description="diffusers folder, .safetensors file or hub id of a ControlNet for this base model")
    first: float | None = Field(None, ge=0, le=2, description="scale in the first diffusion; None: the kind's default")
    second: float | None = Field(None, ge=0, le=2, description="scale in the second; if both are 0, it is not loaded")
    start: float = Field(0.0, ge=0, le=1, description="share of the diffusion steps after which it takes effect")
    end: float = Field(
        0.6, ge=0, le=1, description="share after which it stops: early steps settle the layout, late ones the detail"
    )


class FewStepSettings(BaseModel):
    """A LoRA that lets the base model work in few steps: LCM, Hyper-SD, TCD, Lightning."""

    path: str = Field(description="the .safetensors file")
    steps: int = Field(8, ge=1, le=50, description="of the whole schedule; denoising strength 0.5 runs half of them")
    scheduler: Literal["lcm", "tcd", "ddim", "euler"] = Field(
        "lcm",
        description="lcm for LCM-LoRA, tcd for TCD and for Hyper-SD's one file for any number of steps, ddim for "
        "Hyper-SD's others, euler for SDXL-Lightning",
    )
    scale: float = Field(1.0, gt=0, le=2, description="strength of the LoRA; use what its authors recommend, usually 1")


class ModelSettings(BaseModel):
    """The diffusion model and its device."""

    path: str = Field(
        "portrait-tiny",
        description="portrait-tiny (embedded), or SD 1.5, SDXL, Z-Image or FLUX.2 klein as a diffusers folder, "
        ".safetensors file or hub id",
    )
    config: Path | None = Field(
        None, description="diffusers folder with what a .safetensors file leaves out; None asks the hub"
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto uses a GPU if there is one; cpu, cuda or cuda:1 ask for one, and a missing GPU is an error",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of a function; None means OMP_NUM_THREADS, or one per core",
    )
    quantization: Literal["int8", "nf4"] | None = Field(
        None,
        description="weights of Z-Image and FLUX.2 klein in 8 or 4 bits, for GPUs that are too small; nf4 needs a GPU",
    )
    controls: list[ControlSettings] = Field([], description="ControlNets that generate uses; train uses none")
    few_step: FewStepSettings | None = Field(
        None, description="distillation LoRA for few steps; generate fuses it into the base model, train does not"
    )

    @property
    def is_embedded(self) -> bool:
        """Whether the model is the one that is part of photog."""
        return bool(self.path == type(self).model_fields["path"].default)


class TrainSettings(BaseModel):
    """Overrides of the training plan that suits the base model; None keeps the plan's value."""

    rank: int | None = Field(None, ge=1, le=256, description="a higher rank holds more detail, in a larger file")
    alpha: float | None = Field(None, gt=0, description="the adapter's strength is alpha divided by rank")
    targets: tuple[str, ...] | None = Field(None, description="modules of the UNet to train; the same for all users")
    learning_rate: float | None = Field(None, gt=0, description="a higher rate learns in fewer steps and forgets more")
    batch: int | None = Field(None, ge=1, description="pictures in one pass; lower it if memory is short")
    accumulation: int | None = Field(None, ge=1, description="passes per update, as if their pictures were one batch")
    crops: int | None = Field(None, ge=1, description="crops of each photo in the cache, each of them also mirrored")
    outside: float | None = Field(None, ge=0, le=1, description="weight in the loss of the pixels outside the head")
    patience: int | None = Field(
        None,
        ge=0,
        description="checkpoints without a rise in likeness after which a training ends early, if its held-out loss "
        "rises; 0 makes every training go to its last step",
    )
    seed: int | None = Field(None, description="another seed trains another adapter from the same photos")


class HealthSettings(BaseModel):
    """How a worker without a port shows that it is alive; see `liveness.py`."""

    file: Path | None = Field(
        None, description="touched by the worker's loop; container images set it, a laptop needs none"
    )
    loading_seconds: float = Field(900.0, gt=0, description="time to load the models, from a network drive at worst")
    idle_seconds: float = Field(120.0, gt=0, description="between two rounds of an idle loop; one long poll takes 20")
    presence_seconds: float = Field(
        60.0, ge=0, description="between two signs of life that an idle worker writes into the bucket; 0 writes none"
    )


class EnhanceSettings(BaseModel):
    """Networks that enhance portraits, each a file that you trust; without one, generate uses a classical filter."""

    face_network: Path | None = Field(
        None, description="for photo_fix: .pth or .safetensors of GFPGAN, RestoreFormer or another model spandrel reads"
    )
    upscale_network: Path | None = Field(
        None, description="for super_resolution: .pth or .safetensors of Real-ESRGAN x2 or x4, or what spandrel reads"
    )
    people_network: Path | None = Field(
        None, description="for background_restore: .onnx with the signature of u2net_human_seg; needs onnxruntime"
    )


class NotifySettings(BaseModel):
    """Where completion events are sent."""

    bucket: bool = Field(False, description="write each completion event below notifications/ in the bucket")
    sns_topic: str | None = Field(
        None, pattern=r"^arn:[^:]+:sns:[^:]*:[^:]*:[^:]+$", description="ARN of an SNS topic, standard or FIFO"
    )
    sns_endpoint: str | None = Field(None, description="None uses the endpoint of the topic's region")
    webhooks: list[str] = Field([], description="URLs that get each completion event as a signed POST")
    webhook_secret: SecretStr | None = Field(
        None, description="key for Standard Webhooks, whsec_ and base64 or any text; webhooks are never sent unsigned"
    )
    webhook_seconds: float = Field(10.0, gt=0, description="time for an endpoint to answer")
    redelivery_seconds: float = Field(
        60.0, gt=0, description="between two searches for events that another worker left undelivered"
    )

    @model_validator(mode="after")
    def _require_secret(self) -> "NotifySettings":
        if self.webhooks and self.webhook_secret is None:
            raise ValueError("webhooks are always signed: set PHOTOG_NOTIFY__WEBHOOK_SECRET")
        return self


class RetentionSettings(BaseModel):
    """How long `photog prune` keeps what it finds, in days; None keeps it for ever."""

    photos: float | None = Field(None, ge=0.04, description="uploads below photos/ that nothing needs any more")
    requests: float | None = Field(None, ge=0.04, description="answered manifests whose photos are gone")
    results: float | None = Field(None, ge=0.04, description="answers with their portraits and claims")
    notifications: float | None = Field(None, ge=0.04, description="completion events below notifications/")
    usage: float | None = Field(None, ge=2, description="records of what requests used; a quota looks two days back")
    users: float | None = Field(
        None, ge=0.04, description="people whom no request has named for so long, as `photog forget` removes them"
    )


class UsageSettings(BaseModel):
    """Whether what requests use is added up."""

    record: bool = Field(
        False, description="write a record of each answer below usage/, for `photog usage`; two store calls per answer"
    )


class QuotaSettings(BaseModel):
    """What each user has per day of UTC; None is no limit. With one, usage is recorded too."""

    check: int | None = Field(None, ge=0, description="requests to check")
    train: int | None = Field(None, ge=0, description="requests to train")
    generate: int | None = Field(None, ge=0, description="requests to generate")
    device_seconds: float | None = Field(
        None, gt=0, description="seconds of a device, of all functions together; what runs is not stopped"
    )

    @property
    def limited(self) -> bool:
        """Whether anything is limited."""
        return any(limit is not None for limit in self.model_dump().values())


class GenerateSettings(BaseModel):
    """How generate works, and what it saves besides the portrait."""

    faces_at_once: int = Field(4, ge=1, description="faces of one picture per batch; lower it if memory is short")
    keep_stages: bool = Field(False, description="save the picture after each stage as an artifact, for inspection")
    smallest_face: float = Field(
        48.0, ge=0, description="least width in pixels of a face in a template; at 48 an eye is 9 pixels wide"
    )
    most_turned: float = Field(
        35.0,
        ge=0,
        le=90,
        description="degrees that a template's face may be turned aside, up or down, measured by its landmarks; beyond "
        "it half the face is hidden, landmarks are guesses, and frontal photos smear",
    )
    most_hidden: float = Field(
        0.7,
        ge=0,
        le=1,
        description="share of eyes, nose and mouth, a third each, that hands, cups or masks may hide of a template's "
        "face; a mask over nose and mouth hides up to two thirds",
    )
    fuser: Path | None = Field(
        None,
        description=".onnx file with the signature of inswapper_128, which fuses faces instead of the landmark warp; "
        "needs PHOTOG_FACES__ENGINE=insightface",
    )


class Settings(BaseSettings):
    """All settings; `Settings()` reads them from the environment."""

    model_config = SettingsConfigDict(env_prefix="PHOTOG_", env_nested_delimiter="__")

    limits: Limits = Limits()
    lease: Lease = Lease()
    scan: Scan = Scan()
    faces: FaceSettings = FaceSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    generate: GenerateSettings = GenerateSettings()
    enhance: EnhanceSettings = EnhanceSettings()
    notify: NotifySettings = NotifySettings()
    retention: RetentionSettings = RetentionSettings()
    usage: UsageSettings = UsageSettings()
    quota: QuotaSettings = QuotaSettings()
    s3: S3Settings = S3Settings()
    sqs: SqsSettings = SqsSettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    buckets: dict[str, str] = Field(
        {}, description="addresses of further buckets, by the name that s3://name/ and oss://name/ references use"
    )
    private_addresses: bool = Field(False, description="fetch http(s) pictures from private and loopback addresses too")
    user_agent: str | None = Field(
        None,
        pattern=r"^[\x21-\x7e][\x20-\x7e]{0,499}$",
        description="User-Agent for http(s) pictures; None is photog and its release. Some servers want a contact "
        "address in it",
    )
    token: SecretStr | None = Field(
        None,
        description="what callers of `photog http` must send as `Authorization`; without it everybody may call",
    )
    home: Path = Field(Path("~/.photog"), description="where `photog portrait` keeps its bucket if none is given")
    warm_seconds: float = Field(
        300.0,
        ge=0,
        description="how long the workers of `photog portrait` and `photog people add` stay ready for the next call; "
        "with 0 they end with the command",
    )

    @model_validator(mode="after")
    def _on_one_gpu(self) -> "Settings":
        """Put onnxruntime on torch's GPU, unless another one is set."""
        _, _, gpu = self.model.device.partition(":")
        if gpu and self.faces.device_id is None:
            self.faces = self.faces.model_copy(update={"device_id": int(gpu)})
        return self
