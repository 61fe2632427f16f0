"""EnvoyPatch as changes of finished resources, in the form that Envoy's documentation writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshwright.control_plane.policies import json_patch
from meshwright.control_plane.policies.envoypatch.spec import EnvoyPatchSpec
from meshwright.control_plane.policies.hooks import Hooks


class EnvoyPatchHooks(Hooks[EnvoyPatchSpec]):
    """Patches what every other kind has made."""

    def patched_resources(self) -> Sequence[tuple[str, str]]:
        """The resources that the policy names."""
        return tuple(dict.fromkeys((patch.type, patch.name) for patch in self.spec.patches))

    def patch_resource(self, kind: str, name: str, resource: dict[str, Any]) -> Any:
        """The resource after the operations; raises PatchError if one cannot be applied."""
        patches = (patch for patch in self.spec.patches if (patch.type, patch.name) == (kind, name))
        steps = [operation.step for patch in patches for operation in patch.operations]
        return json_patch.apply(resource, steps)
