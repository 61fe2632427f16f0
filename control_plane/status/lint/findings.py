"""Every rule of lint, applied to a translation and the calls that were seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from meshwright.control_plane.api.models.authorization import ObservedCalls
from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.status.lint.call_limits import call_limits
from meshwright.control_plane.status.lint.cut_calls import cut_calls
from meshwright.control_plane.status.lint.ignored import ignored_rules, reported
from meshwright.control_plane.status.lint.retry_amplification import amplified_retries
from meshwright.control_plane.status.lint.shadowed_rules import shadowed_rules
from meshwright.control_plane.status.lint.timeout_inversion import inverted_timeouts
from meshwright.control_plane.status.lint.unreached_breakers import unreached_breakers
from meshwright.control_plane.status.lint.unused_policies import unused_policies


def findings(translation: Translation, calls: ObservedCalls) -> tuple[LintFinding, ...]:
    """What is in force, judged by the calls of the last hour; errors first."""
    limits = call_limits(translation, calls)
    listed = (
        *cut_calls(translation, calls),
        *inverted_timeouts(limits),
        *amplified_retries(limits),
        *shadowed_rules(translation),
        *unreached_breakers(translation, calls),
        *unused_policies(translation, calls),
    )
    meant = ignored_rules(translation)
    return tuple(sorted(reported(listed, meant), key=lambda finding: finding.severity != "error"))


def added(before: Collection[LintFinding], after: Collection[LintFinding]) -> tuple[LintFinding, ...]:
    """The findings of a change that were not there before."""
    return tuple(finding for finding in after if finding not in before)


def with_sources(findings: Iterable[LintFinding], sources: Mapping[str, str]) -> tuple[LintFinding, ...]:
    """The findings with the place of each policy. `sources`: `path:line` by `Kind/name`."""
    return tuple(
        finding.model_copy(update={"sources": tuple(sources.get(ref, "") for ref in finding.policies)})
        for finding in findings
    )
