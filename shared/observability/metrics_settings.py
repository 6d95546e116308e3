"""Settings of a worker's metrics."""

from pathlib import Path

from pydantic import BaseModel, Field


class MetricsSettings(BaseModel):
    """Where a worker's metrics can be read."""

    port: int | None = Field(
        None, ge=0, le=65535, description="port of GET /metrics; 0 takes a free one, None none; `up` counts on from it"
    )
    host: str = Field("127.0.0.1", description="address of the port; 0.0.0.0 in a container. Anybody there may read")
    file: Path | None = Field(
        None,
        description="rewritten every few seconds for node_exporter's textfile collector: NAME.prom, where {function} "
        "is the function's name. One file per worker",
    )
    file_seconds: float = Field(15.0, gt=0, description="between two writes of the file")
    service: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$",
        description="value of the label `service`; None is the function's name",
    )

    @property
    def wanted(self) -> bool:
        """Whether a port or a file is configured."""
        return self.port is not None or self.file is not None
