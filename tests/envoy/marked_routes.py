"""Routes that mark responses with the revision they belong to, and one that Envoy rejects."""

from __future__ import annotations

import requests

from tests.envoy.harness import Mesh
from tests.envoy.strict_envoy import PATTERN

MARK_RULE = """{
    filters: [{type: ResponseHeaderModifier,
      responseHeaderModifier: {set: [{name: x-revision, value: '%s'}]}}],
    backendRefs: [{name: %s}]
  }, """
REJECTED_RULE = f"""{{
    matches: [{{path: {{type: RegularExpression, value: '{PATTERN}'}}}}],
    filters: [{{type: RequestRedirect,
      requestRedirect: {{path: {{type: ReplaceFullPath, replaceFullPath: /x}}}}}}]
  }}, """
"""The strict Envoy rejects its pattern; no request matches it."""


def mark_of_back(mesh: Mesh, name: str) -> str:
    """The mark on back's response to the sidecar `name`; status and body if it is not 200, "" without a
    response."""
    try:
        response = mesh.get(name, "http://back/echo", timeout=30)
    except requests.ConnectionError:
        return ""
    if response.status_code != 200:
        return f"{response.status_code} {response.text}"
    return response.headers.get("x-revision", "-")
