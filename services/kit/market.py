"""The messages of `market.proto`, built at import time. `market.pyi` has their types.

Code that protoc generates rejects a protobuf runtime older than protoc; a descriptor works with any. It has
its own pool, so that it cannot collide with another `market` package in the process.
"""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICE = "market.MarketDataService"
METHOD = "SendMarketData"

_MESSAGES = {
    "MarketDataRequest": {
        "assetSymbol": FieldDescriptorProto.TYPE_STRING,
        "price": FieldDescriptorProto.TYPE_DOUBLE,
        "timestamp": FieldDescriptorProto.TYPE_INT64,
    },
    "MarketDataResponse": {"success": FieldDescriptorProto.TYPE_BOOL},
}


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="market.proto", package="market", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            message.field.add(name=field, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    service.method.add(
        name=METHOD, input_type=".market.MarketDataRequest", output_type=".market.MarketDataResponse"
    )
    return file


_pool = DescriptorPool()
_pool.Add(_file())
MarketDataRequest = GetMessageClass(_pool.FindMessageTypeByName("market.MarketDataRequest"))
MarketDataResponse = GetMessageClass(_pool.FindMessageTypeByName("market.MarketDataResponse"))
