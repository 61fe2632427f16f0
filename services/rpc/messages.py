"""Protobuf messages built at import time.

Code that protoc generates rejects a protobuf runtime older than protoc; a descriptor works with any. Each
file has its own pool, so that it cannot collide with another package of the same name in the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

TYPES = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "bool": FieldDescriptorProto.TYPE_BOOL,
}


def build_messages(
    service: str, method: tuple[str, str, str], messages: Mapping[str, Mapping[str, str]]
) -> list[Any]:
    """The classes of `messages`, in their order. Each has its fields by name and type, numbered from 1.

    `service` is `package.Service`, `method` its only one: name, request, response.
    """
    package, _, name = service.rpartition(".")
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            message.field.add(
                name=field, number=number, type=TYPES[kind], label=FieldDescriptorProto.LABEL_OPTIONAL
            )
    rpc, request, response = method
    file.service.add(name=name).method.add(
        name=rpc, input_type=f".{package}.{request}", output_type=f".{package}.{response}"
    )
    pool = DescriptorPool()
    pool.Add(file)
    return [GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message}")) for message in messages]
