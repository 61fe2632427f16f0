"""PromQL that several dashboards ask, of what Envoys, agents, control planes and services tell."""

from __future__ import annotations

PLANE = 'job="meshwright-control-plane"'
PROXY = 'job="meshwright-proxy", service=~"$service"'
AGENT = 'job="meshwright-agent", service=~"$service"'
APP = 'job="meshwright-app", service=~"$service", instance=~"$instance"'
APP_FAILED = f'{APP}, status_code=~"5.."'
EDGE = 'service=~"$service", callee=~"$callee"'

_NO_SERVICES = 'envoy_cluster_name!~"/.*"'
_NAME = '"callee", "$1", "envoy_cluster_name", "([^/_:]+).*"'
"""How clusters are named: as dashboards/rules/recording.yml reads them."""


def rate(metric: str, where: str) -> str:
    """Each second's growth of a counter."""
    return f"rate({metric}{{{where}}}[$__rate_interval])"


def ratio(part: str, text: str) -> str:
    """A share, where there is something to have a share of."""
    return f"{part} / ({text} > 0)"


def quantile(q: float, histogram: str, where: str, by: str = "") -> str:
    """A quantile of a histogram of Prometheus, by labels."""
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({q}, sum by ({labels}) ({rate(f'{histogram}_bucket', where)}))"


def edge_quantile(q: float, where: str, by: str = "") -> str:
    """A quantile of how long calls took, in milliseconds, as callers saw it."""
    labels = ", ".join(filter(None, ("le", by)))
    bucket = f"mesh:edge_latency_milliseconds_bucket:rate1m{{{where}}}"
    return f"histogram_quantile({q}, sum by ({labels}) ({bucket}))"


def edges(metric: str, more: str = "") -> str:
    """What callers counted of whom they called in a second, by `service` and `callee`."""
    where = ", ".join(filter(None, (PROXY, _NO_SERVICES, more)))
    return f"sum by (service, callee) (label_replace({rate(f'envoy_cluster_{metric}', where)}, {_NAME}))"


def injected() -> str:
    """What FaultInjection answered in a second, by `service` and `callee`."""
    return f"sum by (service, callee) (label_replace({rate('envoy_mesh_injected', PROXY)}, {_NAME}))"


def edges_now(metric: str, more: str = "") -> str:
    """What callers hold of whom they call at the moment, by `service` and `callee`."""
    where = ", ".join(filter(None, (PROXY, _NO_SERVICES, more)))
    return f"sum by (service, callee) (label_replace(envoy_cluster_{metric}{{{where}}}, {_NAME}))"


def towards(expr: str) -> str:
    """Of edges those that lead to the chosen callees: `expr` has them all."""
    text = "mesh:edge_requests:rate1m"
    return f"{expr} and on (service, callee) {text}{{{EDGE}}}"


def success(failures: str, requests: str) -> str:
    """The share of calls that did not fail; nothing where there was no call."""
    return f"1 - (({failures} or {requests} * 0) / ({requests} > 0))"
