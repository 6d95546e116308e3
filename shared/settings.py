"""What can be configured, with defaults and the reason of each; read from PHOTOG_* environment variables.

Groups nest with two underscores: PHOTOG_LEASE__SECONDS=5, PHOTOG_MODEL__PATH=/models/sd15.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.buckets.aws_clients import S3Settings, SqsSettings
from shared.observability.logs import LogSettings
from shared.observability.metrics import MetricsSettings

MEBIBYTE = 1024 * 1024


class Limits(BaseModel):
    """How large things may be; the defaults are the contract's."""

    manifest_bytes: int = Field(20480 * 1024, description="a request manifest; the page's max_payload_size_kb")
    answer_bytes: int = Field(20480 * 1024, description="an answer; a picture that would not fit is given as a key")
    photo_bytes: int = Field(50 * MEBIBYTE, description="one picture file; a phone's raw-sized jpg has 20 MB")
    photo_pixels: int = Field(100_000_000, description="one picture decoded; 300 MB of RGB")
    fetch_seconds: float = Field(30.0, description="one picture over the network, connection and body")
    request_seconds: float = Field(3600.0, description="one request; the page's keepalive")


class Lease(BaseModel):
    """How a claim lives; see `claims.py`."""

    seconds: float = Field(15.0, gt=0, description="heartbeats come every third of it; takeover after twice of it")
    attempts: int = Field(3, ge=1, description="processes that may die on one request before it is answered with error")
    drain_seconds: float = Field(110.0, description="time to finish a request after SIGTERM; ECS kills after 120")


class Scan(BaseModel):
    """How a watched folder is looked through."""

    seconds: float = Field(2.0, gt=0, description="a scan at least this often, whatever the watcher saw")
    settle_seconds: float = Field(5.0, description="an unreadable manifest counts as half-written for so long")


class FaceSettings(BaseModel):
    """Which face engine, and what counts as the one face of a photo."""

    engine: Literal["dlib", "insightface"] = Field(
        "dlib", description="dlib is embedded and runs anywhere; insightface is the gpu profile's and brings no weights"
    )
    model: str = Field(
        "buffalo_l", description="insightface: a folder of .onnx files, or the name of one in ~/.insightface/models"
    )
    provider: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="of onnxruntime, for insightface, the fuser and the people network: auto takes cuda where it has "
        "it, cuda is an error where it has not",
    )
    intra_threads: int = Field(
        0, ge=0, description="onnxruntime: CPU threads within one operation; 0 is one a core, too many beside torch's"
    )
    inter_threads: int = Field(
        1, ge=0, description="onnxruntime: operations at once; these networks are chains, more only costs memory"
    )
    device_id: int | None = Field(
        None, ge=0, description="onnxruntime's card; None is that of PHOTOG_MODEL__DEVICE, 1 for cuda:1, else 0"
    )
    arena_mebibytes: int = Field(
        2048,
        gt=0,
        description="of the card's memory that each network on onnxruntime may hold, since torch wants the rest; the "
        "largest file of buffalo_l has 174 MB",
    )
    arena_extend_strategy: Literal["kSameAsRequested", "kNextPowerOfTwo"] = Field(
        "kSameAsRequested", description="how that grows: by what is needed, or by ever larger steps, onnxruntime's own"
    )
    ignored_face: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="a further face whose side is at most this share of the largest one's, and that lies further from "
        "it than the largest one is wide, is no reason for code 3; 0 is the page's rule: exactly one face",
    )


class ControlSettings(BaseModel):
    """One ControlNet beside the base model, and how much it says in which diffusion."""

    kind: Literal["canny", "pose", "tile"] = Field(description="it is shown edges, the face's points, the picture")
    path: str = Field(description="diffusers folder, .safetensors file or hub id of a ControlNet of the base's kind")
    first: float | None = Field(None, ge=0, le=2, description="scale in the first diffusion; None is the kind's own")
    second: float | None = Field(None, ge=0, le=2, description="scale in the second; 0 in both: it is not even loaded")
    start: float = Field(0.0, ge=0, le=1, description="share of the diffusion's steps after which it begins to count")
    end: float = Field(
        0.6, ge=0, le=1, description="and after which it no longer does: where things lie is settled early, detail late"
    )


class FewStepSettings(BaseModel):
    """A LoRA that makes the base model one of few steps: LCM, Hyper-SD, TCD, Lightning."""

    path: str = Field(description="the .safetensors file")
    steps: int = Field(8, ge=1, le=50, description="of the whole schedule; a strength of 0.5 runs half of them")
    scheduler: Literal["lcm", "tcd", "ddim", "euler"] = Field(
        "lcm",
        description="lcm for LCM-LoRA, tcd for TCD and Hyper-SD's one file for all, ddim for Hyper-SD's others, "
        "euler for SDXL-Lightning",
    )
    scale: float = Field(1.0, gt=0, le=2, description="strength of the LoRA; its makers' figure, most often 1")


class ModelSettings(BaseModel):
    """Which diffusion model."""

    path: str = Field(
        "portrait-tiny",
        description="portrait-tiny (embedded), or SD 1.5 or SDXL as a diffusers folder, .safetensors file or hub id",
    )
    config: Path | None = Field(
        None, description="diffusers folder whose configurations a .safetensors file is read with; None asks the hub"
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto takes cuda where there is one; or cpu, cuda, cuda:1: a card that is not there is an error",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of a function; None leaves OMP_NUM_THREADS, or one a core",
    )
    controls: list[ControlSettings] = Field([], description="ControlNets that generate works with; train needs none")
    few_step: FewStepSettings | None = Field(
        None, description="LoRA of few steps; generate fuses it in, train does not"
    )


class TrainSettings(BaseModel):
    """What trainings do otherwise than the plan that suits the base model; None leaves the plan's own."""

    rank: int | None = Field(None, ge=1, le=256, description="more holds more detail of a face in a larger file")
    alpha: float | None = Field(None, gt=0, description="strength of the adapter over its rank; equal to it means 1")
    targets: tuple[str, ...] | None = Field(None, description="modules of the UNet that learn; same for all its users")
    learning_rate: float | None = Field(None, gt=0, description="higher learns in fewer steps and forgets more")
    batch: int | None = Field(None, ge=1, description="pictures of one pass; fewer where the memory is small")
    accumulation: int | None = Field(
        None, ge=1, description="passes of one update, as if their pictures were one batch"
    )
    crops: int | None = Field(None, ge=1, description="crops of each photo in the cache, each also mirrored")
    outside: float | None = Field(None, ge=0, le=1, description="weight in the loss of what is not the head")
    seed: int | None = Field(None, description="another one trains another adapter of the same photos")


class HealthSettings(BaseModel):
    """How a worker without a port shows that it is alive; see `liveness.py`."""

    file: Path | None = Field(
        None, description="kept fresh by the working loop; the images set it, a laptop needs none"
    )
    loading_seconds: float = Field(900.0, gt=0, description="loading the models, off a network drive at worst")
    idle_seconds: float = Field(120.0, gt=0, description="between two rounds of an idle loop; a long poll takes 20")


class EnhanceSettings(BaseModel):
    """Networks that generate enhances with, each a file that somebody trusts; without one the way is classical."""

    face_network: Path | None = Field(
        None, description="for photo_fix: .pth or .safetensors of GFPGAN, RestoreFormer or another that spandrel knows"
    )
    upscale_network: Path | None = Field(
        None, description="for super_resolution: .pth or .safetensors of Real-ESRGAN x2 or x4, or another of spandrel's"
    )
    people_network: Path | None = Field(
        None, description="for background_restore: .onnx with u2net_human_seg's signature; needs onnxruntime"
    )


class NotifySettings(BaseModel):
    """Who is told of an answer."""

    bucket: bool = Field(False, description="write each completion event to notifications/ of the bucket")
    sns_topic: str | None = Field(
        None, pattern=r"^arn:[^:]+:sns:[^:]*:[^:]*:[^:]+$", description="ARN of an SNS topic; FIFO topics too"
    )
    sns_endpoint: str | None = Field(None, description="None: the one of the topic's region")
    webhooks: list[str] = Field([], description="URLs that get each completion event as a signed POST")
    webhook_secret: SecretStr | None = Field(
        None, description="whsec_ and base64, or any text; Standard Webhooks. Webhooks are not sent unsigned"
    )
    webhook_seconds: float = Field(10.0, gt=0, description="an endpoint's time to answer")
    redelivery_seconds: float = Field(
        60.0, gt=0, description="between two looks for events that another worker left undelivered"
    )

    @model_validator(mode="after")
    def _signed(self) -> "NotifySettings":
        if self.webhooks and self.webhook_secret is None:
            raise ValueError("webhooks are signed: set PHOTOG_NOTIFY__WEBHOOK_SECRET")
        return self


class GenerateSettings(BaseModel):
    """How generate works, and what it leaves behind besides the portrait."""

    faces_at_once: int = Field(4, ge=1, description="faces of one picture in a batch; fewer where the memory is small")
    keep_stages: bool = Field(False, description="save the picture after each stage as an artifact, for looking at")
    smallest_face: float = Field(
        48.0, ge=0, description="pixels across a template's face, below which it is refused: eyes have 9 of them"
    )
    most_turned: float = Field(
        35.0,
        ge=0,
        le=90,
        description="degrees that a template's face may look aside, up or down, as landmarks tell it; beyond, one half "
        "is hidden, landmarks are guesses, and photos that look into the camera smear",
    )
    fuser: Path | None = Field(
        None,
        description="an .onnx of inswapper_128's signature that fuses faces instead of the landmark warp; needs "
        "PHOTOG_FACES__ENGINE=insightface",
    )


class Settings(BaseSettings):
    """All of it; `Settings()` reads the environment."""

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
    s3: S3Settings = S3Settings()
    sqs: SqsSettings = SqsSettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    buckets: dict[str, str] = Field(
        {}, description="addresses of the buckets that s3://name/ and oss://name/ references may mean, by name"
    )
    private_addresses: bool = Field(False, description="allow http(s) pictures from private and loopback addresses")
    user_agent: str | None = Field(
        None,
        pattern=r"^[\x21-\x7e][\x20-\x7e]{0,499}$",
        description="what servers of http(s) pictures are told who asks; None is photog and its release. Some want an "
        "address there that they can write to",
    )
    home: Path = Field(Path("~/.photog"), description="where `photog portrait` keeps its bucket when none is named")

    @model_validator(mode="after")
    def _on_one_card(self) -> "Settings":
        """onnxruntime on the card of torch, unless it is told another one."""
        _, _, card = self.model.device.partition(":")
        if card and self.faces.device_id is None:
            self.faces = self.faces.model_copy(update={"device_id": int(card)})
        return self
