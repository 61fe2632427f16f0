"""EnvoyPatch: JSON patches on resources of Envoy, for what no other kind does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.json_patch import Operation, Step, parse_pointer

ResourceType = Literal["Listener", "RouteConfiguration", "Cluster"]

MAX_VALUE_BYTES = 64 * 1024

_Pointer = Annotated[str, StringConstraints(max_length=1024)]


@dataclass(frozen=True)
class JSONText:
    """Any JSON value: plain in documents, canonical text (hashable) in memory."""

    text: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def parse(value: Any) -> JSONText:
            if isinstance(value, JSONText):
                return value
            text = json.dumps(value, sort_keys=True, separators=(",", ":"))
            if len(text) > MAX_VALUE_BYTES:
                raise ValueError(f"the value is larger than {MAX_VALUE_BYTES // 1024} KiB")
            return cls(text)

        return core_schema.no_info_after_validator_function(
            parse,
            core_schema.any_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: json.loads(value.text) if isinstance(value, JSONText) else value
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": ["object", "array", "string", "number", "boolean", "null"]}


class PatchOperation(Spec):
    """One operation of a JSON patch (RFC 6902)."""

    op: Operation = Field(description="What is done at the path.")
    path: _Pointer = Field(
        description="A JSON pointer (RFC 6901), with field names as Envoy's documentation writes them, such "
        "as /connect_timeout or /virtual_hosts/0/name; - is the end of a list."
    )
    from_: _Pointer | None = Field(None, alias="from", description="For move and copy: the source's path.")
    value: JSONText | None = Field(None, description="For add, replace and test. Messages need `@type`.")

    @field_validator("path", "from_")
    @classmethod
    def _pointer(cls, text: str | None) -> str | None:
        if text is not None:
            parse_pointer(text)
        return text

    @model_validator(mode="after")
    def _members(self) -> Self:
        if (self.from_ is None) == (self.op in ("move", "copy")):
            raise ValueError(f"{self.op}: from is for move and copy, which need it")
        if ("value" not in self.model_fields_set) == (self.op in ("add", "replace", "test")):
            raise ValueError(f"{self.op}: value is for add, replace and test, which need it")
        return self

    @property
    def step(self) -> Step:
        """The operation, parsed."""
        value = self.value.text if self.value else "null"
        return Step(self.op, parse_pointer(self.path), parse_pointer(self.from_ or ""), value)


class ResourcePatch(Spec):
    """A patch of one resource."""

    type: ResourceType = Field(description="The type of the resource.")
    name: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="Its name, as `mesh proxy NAME config` shows it: listeners inbound, outbound, ingress; "
        "route configurations in, ingress; clusters by the service they lead to."
    )
    operations: tuple[PatchOperation, ...] = Field(
        min_length=1, max_length=64, description="Applied in order, all or none."
    )


class EnvoyPatchSpec(TargetedSpec):
    """Whose proxies, and which patches."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Service", "Gateway"})

    patches: tuple[ResourcePatch, ...] = Field(min_length=1, max_length=32, description="The patches.")

    @model_validator(mode="after")
    def _no_callers(self) -> Self:
        if self.from_:
            raise ValueError("from: a patch changes the target's own proxies: leave it out")
        return self


class EnvoyPatch(TargetedPolicy):
    """Patches the configuration of Envoy itself, for what no other kind does (RFC 6902).

    The patches change the resources of the proxies of the targeted services and gateways, after every other
    policy, and are checked against Envoy's schema. One that cannot be applied leaves its resource as it was,
    and `mesh status` says why; one that Envoy rejects, as well. Names and structure of resources may change
    with any version of Meshwright. `MESH_ENVOY_PATCHES=deny` refuses the kind.
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 9000

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["EnvoyPatch"] = Field(description="Always EnvoyPatch.")
    spec: EnvoyPatchSpec = Field(description="Targets and patches.")
