"""The listener for held checks and trials of ejected instances, on a unix socket (see api.trials)."""

from __future__ import annotations

from meshwright.control_plane.api import cluster_names, trials
from meshwright.sidecar.bootstrap.params import BootstrapParams, Json

_TYPE = "type.googleapis.com/envoy"
_FILTERS = f"{_TYPE}.extensions.filters"


def trial_listeners(params: BootstrapParams) -> list[Json]:
    """One listener, if there is an agent that makes trials."""
    if not params.trial_socket or not params.agent_socket:
        return []
    routes = [_hold(params.id), _trial()]
    router = {"@type": f"{_FILTERS}.http.router.v3.Router"}
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "trial",
        "route_config": {"virtual_hosts": [{"name": "trial", "domains": ["*"], "routes": routes}]},
        "http_filters": [_session(), {"name": "envoy.filters.http.router", "typed_config": router}],
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


def _trial() -> Json:
    """A trial of the agent, to the cluster and the instance that its headers name."""
    header = {"name": trials.CLUSTER_HEADER, "present_match": True}
    return {
        "match": {"prefix": "/", "headers": [header]},
        "route": {"cluster_header": trials.CLUSTER_HEADER, "timeout": f"{trials.TRIAL_TIMEOUT:.0f}s"},
        "request_headers_to_remove": [trials.CLUSTER_HEADER, trials.INSTANCE_HEADER],
    }


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
