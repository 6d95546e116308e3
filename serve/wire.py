"""The SDK's protobuf messages, as `queue.proto` declares them, from frames and back."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from serve.queue_pb2 import DataFrameListProto, DataFrameProto

PROTOBUF = "application/vnd.google.protobuf"


@dataclass(frozen=True)
class Frame:
    """One entry as a consumer gets it. Index 0 is no entry: such a frame only says how far a request is."""

    index: int
    tags: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    message: str = ""


def one(frame: Frame) -> bytes:
    """A DataFrameProto, as a watcher gets it."""
    encoded: bytes = _message(frame).SerializeToString()
    return encoded


def several(frames: Iterable[Frame]) -> bytes:
    """A DataFrameListProto, as a get answers it."""
    encoded: bytes = DataFrameListProto(index=map(_message, frames)).SerializeToString()
    return encoded


def read_one(data: bytes) -> Frame:
    """The frame in a DataFrameProto."""
    return _frame(DataFrameProto.FromString(data))


def read_several(data: bytes) -> list[Frame]:
    """The frames in a DataFrameListProto."""
    return [_frame(message) for message in DataFrameListProto.FromString(data).index]


def _frame(message: DataFrameProto) -> Frame:
    return Frame(message.index, dict(message.tags), message.data, message.message)


def _message(frame: Frame) -> DataFrameProto:
    return DataFrameProto(index=frame.index, tags=frame.tags, data=frame.data, message=frame.message)
