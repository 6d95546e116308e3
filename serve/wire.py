"""Frames to and from the SDK's protobuf messages, which `queue.proto` declares."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from serve.queue_pb2 import DataFrameListProto, DataFrameProto

PROTOBUF = "application/vnd.google.protobuf"


@dataclass(frozen=True)
class Frame:
    """One entry as a consumer gets it. A frame with index 0 is no entry; it only reports the progress of a request."""

    index: int
    tags: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    message: str = ""


def one(frame: Frame) -> bytes:
    """Return a frame as a DataFrameProto, for a watcher."""
    encoded: bytes = _message(frame).SerializeToString()
    return encoded


def several(frames: Iterable[Frame]) -> bytes:
    """Return frames as a DataFrameListProto, the answer of a get."""
    encoded: bytes = DataFrameListProto(index=map(_message, frames)).SerializeToString()
    return encoded


def read_one(data: bytes) -> Frame:
    """Return the frame in a DataFrameProto."""
    return _frame(DataFrameProto.FromString(data))


def read_several(data: bytes) -> list[Frame]:
    """Return the frames in a DataFrameListProto."""
    return [_frame(message) for message in DataFrameListProto.FromString(data).index]


def _frame(message: DataFrameProto) -> Frame:
    return Frame(message.index, dict(message.tags), message.data, message.message)


def _message(frame: Frame) -> DataFrameProto:
    return DataFrameProto(index=frame.index, tags=frame.tags, data=frame.data, message=frame.message)
