"""The documents that a conversion makes, each of them valid."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.policies.validation_messages import distinct_errors, error_message

Document: TypeAlias = dict[str, Any]
"""A document as plain values, as YAML has it."""

GATEWAY_API = "gateway.networking.k8s.io/v1"
OWN_API = "meshwright.io/v1"

WHOLE_MESH: Document = {"kind": "Mesh"}


@dataclass(slots=True)
class Documents:
    """What was made so far."""

    documents: list[Document] = field(default_factory=list)

    def add(self, source: Value, kind: str, name: str, spec: Document, api: str = OWN_API) -> str:
        """Add a document if it is valid; otherwise say at `source` why there is none.

        Returns its name, which has a number if there is another one; empty without a document.
        """
        taken = {item["metadata"]["name"] for item in self.documents if item["kind"] == kind}
        free, count = name, 1
        while free in taken:
            count += 1
            free = f"{name}-{count}"
        document = {"apiVersion": api, "kind": kind, "metadata": {"name": free}, "spec": spec}
        if problem := invalid(kinds()[kind], document):
            source.problem(f"makes an invalid {kind}, so there is none: {problem}", below=False)
            return ""
        self.documents.append(json.loads(json.dumps(document)))  # no part is shared: YAML would have aliases
        return free

    def add_once(self, source: Value, kind: str, name: str, spec: Document) -> str:
        """Add a document unless it exists; returns its name, as `add` does."""
        for item in self.documents:
            if item["kind"] == kind and item["metadata"]["name"] == name and item["spec"] == spec:
                return name
        return self.add(source, kind, name, spec)


def invalid(model: type[BaseModel], value: Any) -> str:
    """What one of our models has against a value; empty if it is valid."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return "; ".join(error_message(model, item) for item in distinct_errors(error))
    return ""


def service_target(service: str) -> list[Document]:
    """The targetRefs of a policy for a service."""
    return [{"kind": "Service", "name": service}]
