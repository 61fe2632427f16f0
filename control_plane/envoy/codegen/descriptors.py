"""Derive protobuf descriptors from envoy-data-plane's dataclasses.

envoy-data-plane contains the whole Envoy API as betterproto2 dataclasses: exact in names, numbers, types,
oneofs and maps, but far too slow as a codec. This module reads that metadata at build time and writes
descriptors, so that protobuf's native engine can do the encoding. Nothing here runs in the control plane; it
is the only module that imports envoy_data_plane.
"""

from __future__ import annotations

import dataclasses
import importlib
import keyword
import pkgutil
from typing import Any, TypeAlias

import betterproto2
import envoy_data_plane
from envoy_data_plane.message_pool import default_message_pool
from google.protobuf import descriptor_pb2 as pb

from meshwright.control_plane.envoy.codegen.missing_messages import MISSING_MESSAGES

Field = pb.FieldDescriptorProto
Symbol: TypeAlias = pb.DescriptorProto | pb.EnumDescriptorProto

_ROOT = "envoy_data_plane."
_WELL_KNOWN = "google.protobuf"
_ENUM_NAMES = {
    "envoy.config.core.v3.ProxyProtocolPassThroughTLVs.PassTlVsMatchType": (
        "ProxyProtocolPassThroughTLVs.PassTLVsMatchType"
    ),
    "envoy.config.route.v3.RetryPolicy.ResetHeader.Format": "RetryPolicy.ResetHeaderFormat",
    "envoy.data.accesslog.v3.HTTPAccessLogEntry.HttpVersion": "HTTPAccessLogEntry.HTTPVersion",
    "envoy.data.accesslog.v3.TLSProperties.TlsVersion": "TLSProperties.TLSVersion",
    "envoy.data.core.v3.HealthCheckFailure.Type": "HealthCheckFailureType",
    "envoy.extensions.common.ratelimit.v3.XRateLimitHeadersRfcVersion": "XRateLimitHeadersRFCVersion",
    "envoy.extensions.filters.http.ratelimit.v3.RateLimit.XRateLimitHeadersRfcVersion": (
        "RateLimit.XRateLimitHeadersRFCVersion"
    ),
    "envoy.service.status.v3.ClientConfig.Status": "ClientConfigStatus",
}
"""Enums whose names cannot be derived from betterproto2's flattened, re-cased ones: guess → name."""


def package_of(full_name: str) -> str:
    """The package of a message or enum: every leading component that begins with a lower-case letter."""
    parts = full_name.split(".")
    return ".".join(parts[: next(index for index, part in enumerate(parts) if part[0].isupper())])


def top_level(full_name: str) -> str:
    """The outermost message or enum that contains `full_name`."""
    package = package_of(full_name)
    return f"{package}.{full_name[len(package) + 1 :].partition('.')[0]}"


def derive_descriptors() -> dict[str, Symbol]:
    """All top-level messages and enums by full name, with nested ones inside and missing ones added.

    Raises ImportError when envoy-data-plane (extra `schema`) is missing.
    """
    classes = _import_enums()
    names: dict[type, str] = {
        cls: url.partition("/")[2] for cls, url in default_message_pool.type_to_url.items()
    }
    enums = _enum_names(classes, names)
    symbols: dict[str, Symbol] = {
        full_name: _enum(full_name, cls)
        for cls, full_name in enums.items()
        if package_of(full_name) != _WELL_KNOWN
    }
    for cls, full_name in names.items():
        if package_of(full_name) != _WELL_KNOWN:
            symbols[full_name] = _MessageDescriber(full_name, cls, names | enums).describe()
    for full_name, lines in MISSING_MESSAGES.items():
        symbols.setdefault(full_name, _missing_message(full_name, lines))
    return _nest(symbols)


def _import_enums() -> list[type]:
    """Import all of envoy-data-plane, which populates its message pool, and return its enum classes."""
    modules = [
        importlib.import_module(module_info.name)
        for module_info in pkgutil.walk_packages(envoy_data_plane.__path__, _ROOT)
    ]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, betterproto2.Enum)
        and value.__module__ == module.__name__
    ]


def _enum_names(enums: list[type], names: dict[type, str]) -> dict[type, str]:
    """Full names of the enum classes: nested in the longest message name that prefixes the class name."""
    messages: dict[str, dict[str, str]] = {}
    for cls, full_name in names.items():
        messages.setdefault(cls.__module__, {})[cls.__name__] = full_name
    result: dict[type, str] = {}
    for cls in enums:
        package = cls.__module__.removeprefix(_ROOT)
        guess = f"{package}.{cls.__name__}"
        siblings = messages.get(cls.__module__, {})
        prefixes = [cls.__name__[:end] for end in range(1, len(cls.__name__)) if cls.__name__[end].isupper()]
        owner = next((prefix for prefix in reversed(prefixes) if prefix in siblings), None)
        if owner is not None:
            guess = f"{siblings[owner]}.{cls.__name__.removeprefix(owner)}"
        result[cls] = f"{package}.{_ENUM_NAMES[guess]}" if guess in _ENUM_NAMES else guess
    return result


def _proto_name(python_name: str) -> str:
    """Undo betterproto2's escapes: `from_` is `from`, `_1` is `1`."""
    if python_name.endswith("_") and keyword.iskeyword(python_name[:-1]):
        return python_name[:-1]
    if python_name.startswith("_") and not python_name[1:].isidentifier():
        return python_name[1:]
    return python_name


def _enum(full_name: str, cls: Any) -> pb.EnumDescriptorProto:
    described = pb.EnumDescriptorProto(name=full_name.rsplit(".", 1)[1])
    renamed = cls.betterproto_value_to_renamed_proto_names()
    values: dict[str, int] = {}
    for python_name, member in cls.__members__.items():
        alias = member.name != python_name
        proto_name = _proto_name(python_name)
        values[proto_name if alias else renamed.get(member.value, proto_name)] = int(member.value)
    if len(set(values.values())) < len(values):
        described.options.allow_alias = True
    for name, number in sorted(values.items(), key=lambda item: item[1] != 0):
        described.value.add(name=name, number=number)
    return described


class _MessageDescriber:
    """Describes one betterproto2 message class; `names` gives every class's full name."""

    def __init__(self, full_name: str, cls: Any, names: dict[type, str]) -> None:
        self.full_name = full_name
        self.cls = cls
        self.names = names
        self.described = pb.DescriptorProto(name=full_name.rsplit(".", 1)[1])
        self.oneofs: dict[str, int] = {}

    def describe(self) -> pb.DescriptorProto:
        optional: list[pb.FieldDescriptorProto] = []
        for attribute in dataclasses.fields(self.cls):
            meta = self.cls._betterproto.meta_by_field_name[attribute.name]
            name = _proto_name(attribute.name)
            field = self.described.field.add(name=name, number=meta.number)
            if meta.map_meta:
                self._map(field, attribute, meta.map_meta)
                continue
            field.label = Field.LABEL_REPEATED if meta.repeated else Field.LABEL_OPTIONAL
            self._type(field, meta, self.cls._betterproto.cls_by_field[attribute.name])
            if meta.group:
                field.oneof_index = self._oneof(meta.group)
            elif meta.optional and meta.proto_type != "message":
                optional.append(field)
        for field in optional:
            # proto3 `optional` is a oneof of one, and such synthetic oneofs come last.
            field.proto3_optional = True
            field.oneof_index = self._oneof("_" + field.name)
        return self.described

    def _oneof(self, name: str) -> int:
        if name not in self.oneofs:
            self.oneofs[name] = len(self.oneofs)
            self.described.oneof_decl.add(name=name)
        return self.oneofs[name]

    def _map(self, field: pb.FieldDescriptorProto, attribute: Any, metas: Any) -> None:
        """A map is a repeated nested message of key and value (protobuf language guide, "Maps")."""
        camel_case = "".join(word[:1].upper() + word[1:] for word in field.name.split("_"))
        entry = self.described.nested_type.add(name=f"{camel_case}Entry")
        entry.options.map_entry = True
        for index, (name, meta) in enumerate(zip(("key", "value"), metas, strict=True)):
            part = entry.field.add(name=name, number=index + 1, label=Field.LABEL_OPTIONAL)
            self._type(part, meta, self.cls._cls_for(attribute, index=index))
        field.label = Field.LABEL_REPEATED
        field.type = Field.TYPE_MESSAGE
        field.type_name = f".{self.full_name}.{entry.name}"

    def _type(self, field: pb.FieldDescriptorProto, meta: Any, cls: Any) -> None:
        field.type = Field.Type.Value(f"TYPE_{meta.proto_type.upper()}")
        if meta.proto_type in ("message", "enum"):
            wrapped = meta.unwrap() if meta.proto_type == "message" and meta.unwrap else cls
            field.type_name = "." + self.names[wrapped]


def _missing_message(full_name: str, lines: tuple[str, ...]) -> pb.DescriptorProto:
    """A message from lines of the proto language: `repeated xds.core.v3.CidrRange ranges = 1`."""
    described = pb.DescriptorProto(name=full_name.rsplit(".", 1)[1])
    for line in lines:
        *label, type_name, name, _, number = line.split()
        field = described.field.add(name=name, number=int(number))
        field.label = Field.LABEL_REPEATED if label else Field.LABEL_OPTIONAL
        if "." in type_name:
            field.type, field.type_name = Field.TYPE_MESSAGE, "." + type_name
        else:
            field.type = Field.Type.Value(f"TYPE_{type_name.upper()}")
    return described


def _nest(symbols: dict[str, Symbol]) -> dict[str, Symbol]:
    """Move nested symbols into their parents, deepest first, and keep the top-level ones in order of name."""
    top: dict[str, Symbol] = {}
    for full_name in sorted(symbols, key=lambda name: (-name.count("."), name)):
        parent = full_name.rsplit(".", 1)[0]
        symbol = symbols[full_name]
        if parent == package_of(full_name):
            top[full_name] = symbol
            continue
        holder = symbols[parent]
        if not isinstance(holder, pb.DescriptorProto):
            raise ValueError(f"{full_name} cannot be nested in the enum {parent}")
        if isinstance(symbol, pb.EnumDescriptorProto):
            holder.enum_type.append(symbol)
        else:
            holder.nested_type.append(symbol)
    return dict(sorted(top.items()))
