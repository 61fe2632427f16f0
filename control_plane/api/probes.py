"""The probe of `mesh authz check --probe`: a marked request, answered by the sidecar that it asks.

The agent of the caller sends it by its Envoy's socket for trials (trials.py), so that it has the caller's
identity. The sidecar of the called service answers in place of the app, after its own rules: a probe changes
nothing. Envoys remove HEADER from what apps and clients of gateways send, whose answers might be cached.
"""

from __future__ import annotations

HEADER = "x-meshwright-probe"
"""Marks a probe, and the answer to one that the rules let through."""

STATUS = 204
"""The status of that answer."""

DENIED_BY = "rbac_access_denied_matched_policy["
"""What precedes the rule in Envoy's answer to one that they refuse, up to a `]`."""
