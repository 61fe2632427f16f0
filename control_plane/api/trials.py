"""The trial of an ejected instance: what the caller's Envoy, its agent and the control plane agree on.

Envoy's outlier detection has no half-open state: it readmits an instance after a fixed time, or when an
active health check passes. So with `CircuitBreaker.halfOpen: probe` the health check of each instance goes to
the socket TRIAL_SOCKET of the caller's own Envoy, which forwards it to the agent. The agent holds the check
until the instance has been ejected for `openFor`, then makes the trial, a request to that instance alone, and
answers with its outcome: 200 readmits it, FAILED keeps it out, UNDECIDED changes nothing.

Without the agent Envoy answers 200 itself: an ejected instance returns at its next check, without a trial.
"""

from __future__ import annotations

import base64
from datetime import timedelta

TRIAL_SOCKET = "trial.sock"
"""In Envoy's working directory, so that its path is the same for every sidecar."""

HOLD_PATH = "/hold"
"""The path of a held check. Its host is the address (`ip:port`) of the instance."""

CLUSTER_HEADER = "x-mesh-trial-cluster"
"""The cluster that ejected the instance; of a held check and of a trial."""

INSTANCE_HEADER = "x-mesh-trial-instance"
"""The only instance that a trial may reach, as Envoy's stateful session expects it: see `session`."""

OPEN_FOR_HEADER, PROTOCOL_HEADER, PATH_HEADER = "x-mesh-open-for-ms", "x-mesh-protocol", "x-mesh-health-path"
"""What a held check says about the trial: when, how (http, grpc, tcp) and, for http, at which path."""

UNDECIDED, FAILED = 503, 500
"""Answers to a held check other than 200. FAILED must not be what a proxy answers by itself: 502 to 504."""

TRIAL_TIMEOUT = 5.0
"""Seconds that a trial may take."""

HOLD_LIMIT = 10.0
"""Seconds after which a held check is answered with UNDECIDED, and Envoy sends the next one.

So a frozen agent is noticed. A check costs less than a millisecond."""

ANSWER_TIMEOUT = HOLD_LIMIT + TRIAL_TIMEOUT + 5.0
"""Seconds after which Envoy takes the agent for frozen."""

TRIAL_GRACE = timedelta(seconds=10)
"""Added to `openFor` as Envoy's own time of ejection: the agent hears of an ejection within two seconds, and
a trial takes up to TRIAL_TIMEOUT. With a frozen agent the instance returns after that."""


def session(address: str) -> str:
    """INSTANCE_HEADER's value for the instance at `ip:port`: base64."""
    return base64.b64encode(address.encode()).decode()
