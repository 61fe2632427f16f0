"""The listener for what the agent sends to single instances, on a unix socket.

Held checks and trials of ejected instances (api.trials), and probes of authorization (api.probes).
"""

from __future__ import annotations

from meshwright.control_plane.api import cluster_names, probes, trials
from meshwright.sidecar.bootstrap.params import BootstrapParams, Json

_TYPE = "type.googleapis.com/envoy"
_FILTERS = f"{_TYPE}.extensions.filters"


def trial_listeners(params: BootstrapParams) -> list[Json]:
    """One listener, if there is an agent."""
    if not params.trial_socket or not params.agent_socket:
        return []
    routes = [_to_instance(probes.HEADER), _hold(params.id), _to_instance()]
    router = {"@type": f"{_FILTERS}.http.router.v3.Router"}
    routing = {"name": "envoy.filters.http.router", "typed_config": router}
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "trial",
        "route_config": {"virtual_hosts": [{"name": "trial", "domains": ["*"], "routes": routes}]},
        "http_filters": [_discovery(), _session(), routing],
        "local_reply_config": {"mappers": [_without_agent()]},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return [
        {
            "name": "trial",
            "address": {"pipe": {"path": params.trial_socket, "mode": 0o600}},
            "filter_chains": [{"filters": filters}],
            "ignore_global_conn_limit": True,
        }
    ]


def _hold(name: str) -> Json:
    """A health check of this Envoy, which the agent answers when it knows more."""
    route = {
        "cluster": cluster_names.AGENT,
        "prefix_rewrite": f"/trials/{name}",
        "timeout": f"{trials.ANSWER_TIMEOUT:.0f}s",
    }
    return {"match": {"path": trials.HOLD_PATH}, "route": route}


def _to_instance(*marks: str) -> Json:
    """A trial, or with these headers a probe, to the cluster and the instance that its headers name."""
    headers = [{"name": name, "present_match": True} for name in (trials.CLUSTER_HEADER, *marks)]
    return {
        "match": {"prefix": "/", "headers": headers},
        "route": {"cluster_header": trials.CLUSTER_HEADER, "timeout": f"{trials.TRIAL_TIMEOUT:.0f}s"},
        "request_headers_to_remove": [trials.CLUSTER_HEADER, trials.INSTANCE_HEADER],
    }


def _discovery() -> Json:
    """Fetches the cluster of a service that was not called before."""
    source = {"ads": {}, "resource_api_version": "V3"}
    config = {"@type": f"{_FILTERS}.http.on_demand.v3.OnDemand", "odcds": {"source": source, "timeout": "3s"}}
    return {"name": "envoy.filters.http.on_demand", "typed_config": config}


def _session() -> Json:
    """Lets a header choose the instance; `strict`: no other one instead."""
    state = {
        "@type": f"{_TYPE}.extensions.http.stateful_session.header.v3.HeaderBasedSessionState",
        "name": trials.INSTANCE_HEADER,
    }
    config = {
        "@type": f"{_FILTERS}.http.stateful_session.v3.StatefulSession",
        "strict": True,
        "session_state": {"name": "envoy.http.stateful_session.header", "typed_config": state},
    }
    return {"name": "envoy.filters.http.stateful_session", "typed_config": config}


def _without_agent() -> Json:
    """A check that the agent cannot answer passes: an instance must not depend on the caller's agent."""
    value = {"default_value": 500, "runtime_key": "mesh.trial.local_reply"}
    failed = {"status_code_filter": {"comparison": {"op": "GE", "value": value}}}
    path = {"name": ":path", "string_match": {"prefix": trials.HOLD_PATH}}
    rewritten = {"name": "x-envoy-original-path", "present_match": True}
    held = {"or_filter": {"filters": [{"header_filter": {"header": h}} for h in (path, rewritten)]}}
    return {"filter": {"and_filter": {"filters": [failed, held]}}, "status_code": 200}
