"""Policy files that tests apply."""

from __future__ import annotations


def retry(name: str = "inventory-retry", service: str = "inventory", attempts: int = 2) -> str:
    """A Retry as a user writes it."""
    return f"""\
apiVersion: meshwright.io/v1
kind: Retry
metadata:
  name: {name}
spec:
  targetRefs:
    - kind: Service
      name: {service}
  attempts: {attempts}
"""


def timeout(name: str = "orders-timeout", request: str = "2s") -> str:
    """A Timeout as a user writes it."""
    return f"""\
apiVersion: meshwright.io/v1
kind: Timeout
metadata: {{name: {name}}}
spec: {{targetRefs: [{{kind: Service, name: orders}}], request: {request}}}
"""
