"""betterproto2's dataclasses decode what protobuf's engine encodes to equal names and values.

envoy-data-plane brings its own, unrelated decoder. Any field whose number, type, oneof or map the derived
descriptors had wrong would come out under another name, as another value or not at all.
"""

from __future__ import annotations

import dataclasses
import importlib
from datetime import UTC, timedelta
from typing import Any

import pytest
from envoy_data_plane.message_pool import default_message_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.envoy.codegen.descriptors import package_of
from meshwright.control_plane.envoy.codegen.missing_messages import MISSING_MESSAGES
from tests.control_plane.envoy import samples, schema

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DEPTH = 4
IMPORTANT = (
    "Cluster",
    "ClusterLoadAssignment",
    "Listener",
    "RouteConfiguration",
    "VirtualHost",
    "HttpConnectionManager",
    "RBAC",
    "JwtAuthentication",
    "LocalRateLimit",
    "HTTPFault",
    "HttpProtocolOptions",
    "DownstreamTlsContext",
    "Secret",
    "TcpProxy",
    "Struct",
    "DeltaDiscoveryRequest",
    "DeltaDiscoveryResponse",
)

TEXT = st.text("az:/*.-é", max_size=8)
NUMBERS = {
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(allow_nan=False, allow_infinity=False, width=32),
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}
MOMENTS = {
    "seconds": st.integers(0, 2**31),
    "nanos": st.integers(0, 999_999).map(lambda micros: micros * 1000),
}
"""Durations that a timedelta can hold: not negative, in whole microseconds."""


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = DEPTH) -> Message:
    """A message with up to four fields set, never two of one oneof."""
    if descriptor.full_name in ("google.protobuf.Duration", "google.protobuf.Timestamp"):
        return GetMessageClass(descriptor)(**{name: draw(strategy) for name, strategy in MOMENTS.items()})
    fields = [field for field in descriptor.fields if depth or field.message_type is None]
    chosen: dict[str, FieldDescriptor] = {}
    if fields:
        for field in draw(
            st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda field: field.number)
        ):
            oneof = field.containing_oneof
            chosen.setdefault(oneof.name if oneof else field.name, field)
    return GetMessageClass(descriptor)(
        **{field.name: draw(contents(field, depth)) for field in chosen.values()}
    )


def contents(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        key, value = (single(message.fields_by_name[part], depth) for part in ("key", "value"))
        return st.dictionaries(key, value, max_size=2)
    return st.lists(single(field, depth), max_size=2) if field.is_repeated else single(field, depth)


def single(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, max(depth - 1, 0))
    if field.enum_type is not None:
        return st.sampled_from(sorted(field.enum_type.values_by_number))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=4)
    return NUMBERS.get(field.cpp_type, TEXT)


def native(message: Message) -> Any:
    """The message as plain values by field name."""
    name = message.DESCRIPTOR.full_name
    value: Any = message
    if name == "google.protobuf.Duration":
        return timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    if name == "google.protobuf.Timestamp":
        return value.ToDatetime(tzinfo=UTC)
    if (
        name.startswith("google.protobuf.")
        and name.endswith("Value")
        and "value" in message.DESCRIPTOR.fields_by_name
    ):
        return value.value
    return {field.name: native_field(field, content) for field, content in message.ListFields()}


def native_field(field: FieldDescriptor, content: Any) -> Any:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return {key: native_value(content[key]) for key in content}
    return [native_value(item) for item in content] if field.is_repeated else native_value(content)


def native_value(value: Any) -> Any:
    return native(value) if isinstance(value, Message) else value


def foreign(value: Any) -> Any:
    """The same for a betterproto2 message, without absent fields and implicit defaults."""
    if isinstance(value, list):
        return [foreign(item) for item in value]
    if isinstance(value, dict):
        return {key: foreign(item) for key, item in value.items()}
    if not dataclasses.is_dataclass(value):
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
    kind: Any = type(value)
    metas = kind._betterproto.meta_by_field_name
    result = {}
    for attribute in dataclasses.fields(value):
        content, meta = getattr(value, attribute.name), metas[attribute.name]
        explicit = meta.optional or meta.group or meta.proto_type == "message"
        if content is None or content in ([], {}) or (not explicit and not content):
            continue
        result[attribute.name.removesuffix("_")] = foreign(content)
    return result


def read(message: Message) -> Any:
    """The message as decoded by the second decoder."""
    importlib.import_module(f"envoy_data_plane.{package_of(message.DESCRIPTOR.full_name)}")
    return foreign(default_message_pool.url_to_type[codec.type_url(message)].parse(codec.encode(message)))


@pytest.mark.parametrize("sample", samples.all_samples(), ids=codec.type_url)
def test_samples_decode_equally(sample: Message) -> None:
    assert read(sample) == native(sample)


def test_cluster_decodes_to_its_values() -> None:
    seen = read(samples.cluster())
    assert seen["connect_timeout"] == timedelta(milliseconds=250)
    assert seen["outlier_detection"] == {
        "consecutive_5xx": 5,
        "base_ejection_time": timedelta(seconds=1),
        "enforcing_success_rate": 0,
    }
    assert seen["circuit_breakers"]["thresholds"][0]["retry_budget"] == {"budget_percent": {"value": 20.5}}


def test_every_field_of_the_exposed_schema_decodes_equally() -> None:
    count = 0
    for descriptor in schema.reached():
        if descriptor.full_name.startswith("google.protobuf.") or descriptor.full_name in MISSING_MESSAGES:
            continue
        for field in descriptor.fields:
            message = GetMessageClass(descriptor)(**{field.name: schema.content(field)})
            assert list(read(message)) == [field.name]
            assert read(message) == native(message)
            count += 1
    assert count > 1500


@pytest.mark.parametrize("name", IMPORTANT)
def test_random_messages_decode_equally(name: str) -> None:
    descriptor = getattr(v3, name).DESCRIPTOR
    compared = 0

    @given(messages(descriptor))
    @settings(
        max_examples=40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    def compare(message: Message) -> None:
        nonlocal compared
        compared += bool(message.ListFields())
        assert read(message) == native(message)

    compare()
    assert compared
