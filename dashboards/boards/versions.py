"""Versions of a service beside each other: the canary and the stable one, and where rollouts stand."""

from __future__ import annotations

from meshwright.dashboards.board import (
    SERVICE,
    VERSIONS,
    Board,
    Section,
    dashboard_url,
    query_variable,
)
from meshwright.dashboards.parts import (
    ANY_RATE_IS_BAD,
    LATENCY,
    SUCCESS,
    PanelColumn,
    StateTimelinePanel,
    TablePanel,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import success, version_quantile, versions, versions_now

_NAME = "{{callee}}/{{subset}}"
_OF = 'callee=~"$callee"'
_CALLS = f"mesh:version_requests:rate1m{{{_OF}}}"
_FAILURES = f"mesh:version_failures:rate1m{{{_OF}}}"
_SHARE = f"{_CALLS} / on (callee) group_left () (sum by (callee) ({_CALLS}) > 0)"


def _in_phase(phase: str) -> str:
    return f'max by (rollout) (mesh_rollout_phase{{phase="{phase}"}})'


BESIDE = Section(
    "Versions",
    (
        TablePanel(
            "Versions",
            "Requests to each Subset in the last minute, from all callers.",
            {"callee": "Service", "subset": "Version"},
            (
                PanelColumn("Requests", _CALLS, "reqps"),
                PanelColumn("Share", _SHARE, "percentunit"),
                PanelColumn("Success", success(_FAILURES, _CALLS), "percentunit", SUCCESS),
                PanelColumn("p50", version_quantile(0.5, _OF), "ms"),
                PanelColumn("p99", version_quantile(0.99, _OF), "ms", LATENCY),
                PanelColumn("Healthy hosts", versions_now("membership_healthy")),
            ),
            links=(("Service", dashboard_url(SERVICE, service="${__value.text}")),),
        ),
        TimeSeriesPanel(
            "Share by version",
            "The share of the requests to a service's Subsets that each of them gets.",
            "percentunit",
            ((_SHARE, _NAME),),
            stacked=True,
            max_value=1,
        ),
        TimeSeriesPanel(
            "Success by version",
            "The share of requests that did not fail, as their callers saw them.",
            "percentunit",
            ((success(_FAILURES, _CALLS), _NAME),),
            SUCCESS,
            max_value=1,
        ),
        TimeSeriesPanel(
            "Requests by version", "Requests per second.", "reqps", ((_CALLS, _NAME),), stacked=True
        ),
        TimeSeriesPanel(
            "p99 by version",
            "99 % of the requests that an instance responded to took at most this long.",
            "ms",
            ((version_quantile(0.99, _OF), _NAME),),
            LATENCY,
        ),
        TimeSeriesPanel(
            "4xx by version",
            "Responses per second that blame the request: a version may refuse what the others take.",
            "reqps",
            ((versions("upstream_rq_xx", 'envoy_response_code_class="4"'), _NAME),),
        ),
        TimeSeriesPanel(
            "Retries by version",
            "Tries per second that were repeated.",
            "reqps",
            ((versions("upstream_rq_retry"), _NAME),),
            ANY_RATE_IS_BAD,
        ),
    ),
)

ROLLOUTS = Section(
    "Rollouts",
    (
        StateTimelinePanel(
            "Rollouts",
            "The phase of each Rollout. One is aborted by hand, or because a guard failed.",
            f"{_in_phase('Promoted')} + 2 * {_in_phase('Paused')} + 3 * {_in_phase('Aborted')}",
            "{{rollout}}",
            {
                0: ("progressing", "blue"),
                1: ("promoted", "green"),
                2: ("paused", "orange"),
                3: ("aborted", "red"),
            },
        ),
        TimeSeriesPanel(
            "Share of canaries",
            "The percentage of requests that each Rollout gives its canary.",
            "percent",
            (("max by (rollout) (mesh_rollout_weight)", "{{rollout}}"),),
            max_value=100,
        ),
    ),
)

BOARD = Board(
    VERSIONS,
    "Versions",
    "Versions of a service beside each other: the canary and the stable one, and where rollouts stand.",
    (BESIDE, ROLLOUTS),
    (query_variable("callee", "Service", "label_values(mesh:version_requests:rate1m, callee)"),),
)
