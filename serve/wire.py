"""The SDK's protobuf messages `DataFrameProto` and `DataFrameListProto`, declared here so that nothing is generated."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTOBUF = "application/vnd.google.protobuf"

_Field = descriptor_pb2.FieldDescriptorProto


@dataclass(frozen=True)
class Frame:
    """One entry as a consumer gets it. Index 0 is no entry: such a frame only says how far a request is."""

    index: int
    tags: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    message: str = ""


def one(frame: Frame) -> bytes:
    """A DataFrameProto, as a watcher gets it."""
    encoded: bytes = _filled(_DataFrame(), frame).SerializeToString()
    return encoded


def several(frames: Iterable[Frame]) -> bytes:
    """A DataFrameListProto, as a get answers it."""
    message = _DataFrameList()
    for frame in frames:
        _filled(message.index.add(), frame)
    encoded: bytes = message.SerializeToString()
    return encoded


def read_one(data: bytes) -> Frame:
    """The frame in a DataFrameProto."""
    return _read(_DataFrame.FromString(data))


def read_several(data: bytes) -> list[Frame]:
    """The frames in a DataFrameListProto."""
    return [_read(message) for message in _DataFrameList.FromString(data).index]


def _read(message: Any) -> Frame:
    return Frame(message.index, dict(message.tags), message.data, message.message)


def _filled(message: Any, frame: Frame) -> Any:
    message.index, message.data, message.message = frame.index, frame.data, frame.message
    message.tags.update(frame.tags)
    return message


def _declared() -> descriptor_pb2.FileDescriptorProto:
    """DataFrameProto {uint64 index=1; map<string,string> tags=2; bytes data=3; string message=4} and the list of it."""
    file = descriptor_pb2.FileDescriptorProto(name="photog/queue.proto", package="photog.queue", syntax="proto3")
    frame = file.message_type.add(name="DataFrameProto")
    frame.field.add(name="index", number=1, type=_Field.TYPE_UINT64, label=_Field.LABEL_OPTIONAL)
    frame.field.add(
        name="tags",
        number=2,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_REPEATED,
        type_name=".photog.queue.DataFrameProto.TagsEntry",
    )
    frame.field.add(name="data", number=3, type=_Field.TYPE_BYTES, label=_Field.LABEL_OPTIONAL)
    frame.field.add(name="message", number=4, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    entry = frame.nested_type.add(name="TagsEntry")
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    entry.options.map_entry = True
    frames = file.message_type.add(name="DataFrameListProto")
    frames.field.add(
        name="index",
        number=1,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_REPEATED,
        type_name=".photog.queue.DataFrameProto",
    )
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_declared())
_DataFrame = message_factory.GetMessageClass(_pool.FindMessageTypeByName("photog.queue.DataFrameProto"))
_DataFrameList = message_factory.GetMessageClass(_pool.FindMessageTypeByName("photog.queue.DataFrameListProto"))
