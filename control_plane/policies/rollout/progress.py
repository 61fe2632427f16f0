"""Where a rollout stands: a step and a phase, in annotations of its document.

So the progress belongs to a revision like everything else: it has a history, is undone with it, and survives
every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from meshwright.control_plane.policies.rollout.spec import Rollout, RolloutSpec, RolloutStep

PREFIX = "meshwright.io/rollout-"
SAME_ROLLOUT = ("route", "stable", "canary")
"""Fields of a spec; a document in which one of them differs is about another rollout."""

Phase: TypeAlias = Literal["Progressing", "Paused", "Promoted", "Aborted"]
"""`Promoted`: the canary has all the traffic. `Aborted`: the stable backend has it again."""


@dataclass(frozen=True, slots=True)
class RolloutProgress:
    """`step` counts from 1; 0: not begun. `since` is when step or phase began, in seconds since the epoch.

    `reason` says why the phase is what it is, in words and figures.
    """

    step: int = 0
    phase: Phase = "Progressing"
    since: float = 0.0
    reason: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.phase in ("Promoted", "Aborted")

    def current(self, spec: RolloutSpec) -> RolloutStep | None:
        """The step in force; None before the first, and at the end. A spec may have lost steps since."""
        if self.has_ended or self.step < 1:
            return None
        return spec.steps[min(self.step, len(spec.steps)) - 1]

    def weight(self, spec: RolloutSpec) -> int:
        """The percentage of requests that the canary responds to."""
        if self.phase == "Promoted":
            return 100
        step = self.current(spec)
        return (step.weight or 0) if step else 0

    def mirror(self, spec: RolloutSpec) -> int:
        """The percentage of requests that are copied to the canary."""
        step = self.current(spec)
        return (step.mirror or 0) if step else 0

    def annotations(self) -> dict[str, str]:
        """As they are written to the document."""
        values = {"step": str(self.step), "phase": self.phase, "since": f"{self.since:.3f}"}
        return {PREFIX + name: value for name, value in {**values, "reason": self.reason}.items() if value}


def progress_of(rollout: Rollout) -> RolloutProgress:
    """Where a rollout stands; at its beginning if the annotations are missing or make no sense."""
    return _progress(rollout.metadata.annotations)


def _progress(annotations: Mapping[str, str]) -> RolloutProgress:
    phase = annotations.get(PREFIX + "phase", "")
    phases: tuple[Phase, ...] = get_args(Phase)
    try:
        step = int(annotations.get(PREFIX + "step", ""))
        since = float(annotations.get(PREFIX + "since", ""))
    except ValueError:
        return RolloutProgress()
    if step < 0 or phase not in phases:
        return RolloutProgress()
    return RolloutProgress(step, phases[phases.index(phase)], since, annotations.get(PREFIX + "reason", ""))


def at(document: Mapping[str, Any], progress: RolloutProgress) -> dict[str, Any]:
    """A document of a Rollout that stands at `progress`."""
    return _with_annotations(document, progress.annotations())


def with_stored_progress(
    document: Mapping[str, Any], stored: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """An unvalidated document of a Rollout, standing where the mesh has it, if it is about the same.

    Whoever applies a file does not decide where the rollout stands. `stored`: by kind and name. Documents
    of other kinds are returned as they are.
    """
    metadata, spec = document.get("metadata"), document.get("spec")
    if document.get("kind") != "Rollout" or not (isinstance(metadata, Mapping) and isinstance(spec, Mapping)):
        return document
    if not isinstance(metadata.get("annotations", {}), Mapping):
        return document
    previous = stored.get(("Rollout", str(metadata.get("name"))))
    if previous is None or not _is_same(spec, previous["spec"]):
        return _with_annotations(document, {})
    annotations = previous["metadata"].get("annotations", {})
    return _with_annotations(
        document, {name: value for name, value in annotations.items() if name.startswith(PREFIX)}
    )


def restored(
    document: Mapping[str, Any], stored: Mapping[tuple[str, str], Mapping[str, Any]], now: float
) -> Mapping[str, Any]:
    """A document that a rollback restores: a Rollout that stood elsewhere is paused.

    Its step began in the past, so it would move on at once. Other kinds are returned as they are.
    """
    if document.get("kind") != "Rollout":
        return document
    progress = _progress(document["metadata"].get("annotations", {}))
    current = stored.get(("Rollout", document["metadata"]["name"]))
    if progress.has_ended or (current is not None and dict(current) == dict(document)):
        return document
    return at(document, replace(progress, phase="Paused", since=now, reason="restored by a rollback"))


def without_progress(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of a Rollout as its author wrote it; any other as it is."""
    return _with_annotations(document, {}) if document.get("kind") == "Rollout" else document


def _is_same(spec: Mapping[str, Any], previous: Mapping[str, Any]) -> bool:
    """Whether two specs are about one rollout; what is left out and an empty value mean the same."""

    def essence(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        named = {name: value.get(name) for name in ("kind", "name", "port", "sectionName")}
        return {name: item for name, item in named.items() if item not in ("", None, "HTTPRoute", "Service")}

    return all(essence(spec.get(field)) == essence(previous.get(field)) for field in SAME_ROLLOUT)


def _with_annotations(document: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    metadata = document["metadata"]
    users = {n: value for n, value in metadata.get("annotations", {}).items() if not n.startswith(PREFIX)}
    annotations = {**users, **values}
    rest = {name: value for name, value in metadata.items() if name != "annotations"}
    return {**document, "metadata": {**rest, **({"annotations": annotations} if annotations else {})}}
