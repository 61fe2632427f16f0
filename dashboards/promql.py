"""PromQL shared by several dashboards, over metrics of Envoys, agents, control planes and services."""

from __future__ import annotations

CONTROL_PLANE_JOB = 'job="meshwright-control-plane"'
PROXY = 'job="meshwright-proxy", service=~"$service"'
AGENT = 'job="meshwright-agent", service=~"$service"'
APP = 'job="meshwright-app", service=~"$service", instance=~"$instance"'
APP_FAILED = f'{APP}, status_code=~"5.."'
EDGE = 'service=~"$service", callee=~"$callee"'

_NO_SERVICES = 'envoy_cluster_name!~"/.*"'
_NAME = '"callee", "$1", "envoy_cluster_name", "([^/_:]+).*"'
"""The callee in a cluster's name, as in dashboards/rules/recording.yml."""


def rate(metric: str, where: str) -> str:
    """The rate of a counter, per second."""
    return f"rate({metric}{{{where}}}[$__rate_interval])"


def ratio(part: str, text: str) -> str:
    """A ratio, with no value if the denominator is 0."""
    return f"{part} / ({text} > 0)"


def zero(label: str) -> str:
    """A series of 0 with `none` as its label, so that the legend of a panel has no series without a name."""
    return f'label_replace(vector(0), "{label}", "none", "", "")'


def quantile(q: float, histogram: str, where: str, by: str = "") -> str:
    """A quantile of a Prometheus histogram, by labels."""
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({q}, sum by ({labels}) ({rate(f'{histogram}_bucket', where)}))"


def edge_quantile(q: float, where: str, by: str = "") -> str:
    """A quantile of the callers' latency in milliseconds."""
    labels = ", ".join(filter(None, ("le", by)))
    bucket = f"mesh:edge_latency_milliseconds_bucket:rate1m{{{where}}}"
    return f"histogram_quantile({q}, sum by ({labels}) ({bucket}))"


def edges(metric: str, more: str = "") -> str:
    """The rate of a cluster counter at the callers, by `service` (the caller) and `callee`."""
    where = ", ".join(filter(None, (PROXY, _NO_SERVICES, more)))
    return f"sum by (service, callee) (label_replace({rate(f'envoy_cluster_{metric}', where)}, {_NAME}))"


_ROUTE = '"route", "$1", "mesh_rule", "(.+)/.*"'
_RULE = '"rule", "$1", "mesh_rule", ".+/(.*)"'
_SUBSET = '"subset", "$1", "envoy_cluster_name", "[^/]+/(.+)"'
_OF_SUBSETS = f'job="meshwright-proxy", {_NO_SERVICES}, envoy_cluster_name=~"($callee)(_[^/]*)?/.+"'


def version_quantile(q: float, where: str) -> str:
    """A quantile of the callers' latency in milliseconds, by `callee` and `subset`."""
    return f"histogram_quantile({q}, mesh:version_latency_milliseconds_bucket:rate1m{{{where}}})"


def versions(metric: str, more: str = "") -> str:
    """The rate of a cluster counter at all callers, by `callee` and `subset`."""
    return _by_version(rate(f"envoy_cluster_{metric}", ", ".join(filter(None, (_OF_SUBSETS, more)))))


def route_quantile(q: float, where: str, by: str = "service, route, rule") -> str:
    """A quantile of the latency of rules in milliseconds, by labels."""
    bucket = f"mesh:route_latency_milliseconds_bucket:rate1m{{{where}}}"
    return f"histogram_quantile({q}, sum by (le, {by}) ({bucket}))"


def routes(metric: str) -> str:
    """The rate of a router's counter, by `service` (the caller), `route` and `rule`."""
    rule = f"label_replace({rate(f'envoy_vhost_route_{metric}', PROXY)}, {_ROUTE})"
    return f"sum by (service, route, rule) (label_replace({rule}, {_RULE}))"


def versions_now(metric: str) -> str:
    """The largest current value of a cluster gauge among the callers, by `callee` and `subset`."""
    return _by_version(f"envoy_cluster_{metric}{{{_OF_SUBSETS}}}", "max")


def _by_version(expr: str, aggregation: str = "sum") -> str:
    return f"{aggregation} by (callee, subset) (label_replace(label_replace({expr}, {_NAME}), {_SUBSET}))"


def injected() -> str:
    """The rate of responses by FaultInjection, by `service` (the caller) and `callee`."""
    where = f'{PROXY}, mesh_flags=~"(.*,)?FI(,.*)?"'
    return f"sum by (service, callee) (label_replace({rate('envoy_mesh_local_replies', where)}, {_NAME}))"


def edges_now(metric: str, more: str = "") -> str:
    """The current value of a cluster gauge at the callers, by `service` (the caller) and `callee`."""
    where = ", ".join(filter(None, (PROXY, _NO_SERVICES, more)))
    return f"sum by (service, callee) (label_replace(envoy_cluster_{metric}{{{where}}}, {_NAME}))"


def to_selected_callees(expr: str) -> str:
    """The edges of `expr` that lead to the selected callees."""
    text = "mesh:edge_requests:rate1m"
    return f"{expr} and on (service, callee) {text}{{{EDGE}}}"


def success(failures: str, requests: str) -> str:
    """The share of requests that did not fail, with no value if there was no request.

    Not below 0: a counter of failures begins later than that of requests, so that its rate may be above.
    """
    return f"clamp_min(1 - (({failures} or {requests} * 0) / ({requests} > 0)), 0)"
