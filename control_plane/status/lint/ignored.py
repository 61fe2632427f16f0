"""Findings that somebody meant: a policy's annotation names the rules, and its comment says why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.core.translate import Translation

IGNORE = "meshwright.io/lint-ignore"
"""The annotation: rules, separated by commas, whose findings that involve the policy are not reported."""


def ignored_rules(translation: Translation) -> Mapping[str, Collection[str]]:
    """The rules that each annotated policy ignores, by `Kind/name`."""
    annotated = (document.policy for document in translation.world.documents)
    return {
        f"{policy.kind}/{policy.metadata.name}": {rule.strip() for rule in rules.split(",")}
        for policy in annotated
        if (rules := policy.metadata.annotations.get(IGNORE))
    }


def reported(
    findings: Iterable[LintFinding], ignored: Mapping[str, Collection[str]]
) -> Iterator[LintFinding]:
    """The findings that none of their policies ignores. Refused calls always are: that is an error."""
    for finding in findings:
        if finding.severity == "error" or not any(
            finding.rule in ignored.get(ref, ()) for ref in finding.policies
        ):
            yield finding
