"""The control plane's exceptions. Each maps to one exit code of `mesh` and one status of the admin API.

MeshError
├── InputError             invalid input or usage: exit 2, HTTP 400 or 422
├── NotFoundError          no such kind, name or revision: exit 2, HTTP 404
├── RevisionConflictError  the mesh was changed meanwhile: exit 6, HTTP 409
├── CommandTimeoutError    a sidecar did not respond in time: exit 4, HTTP 504
├── PermissionDeniedError  the identity, token or CSR does not permit it: HTTP 403
├── OverloadedError        too many concurrent clients: HTTP 503 with Retry-After
├── LimitExceededError     the request asks for more work than allowed: exit 2, HTTP 413
└── StoreError             the store is unavailable or not ours: HTTP 503
    └── ForeignRootError   it has a mesh with another root certificate
"""

from __future__ import annotations


class MeshError(Exception):
    """An error that a user or client can cause or needs to know about. Its text is one clear line."""


class InputError(MeshError):
    """Invalid input. `args[0]` can have several lines, one per problem."""


class NotFoundError(MeshError):
    """A kind, name or revision that does not exist."""


class RevisionConflictError(MeshError):
    """The revision that a change is based on is no longer the newest; `current` is."""

    def __init__(self, base: int, current: int) -> None:
        super().__init__(
            f"revision {base} is no longer the newest ({current} is): check `mesh diff`, then apply again"
        )
        self.base = base
        self.current = current


class PermissionDeniedError(MeshError):
    """The caller's identity, token or CSR does not permit the request."""


class CommandTimeoutError(MeshError, TimeoutError):
    """A sidecar, or its Envoy, did not respond in time."""


class OverloadedError(MeshError):
    """Too many concurrent clients; try again later."""


class LimitExceededError(MeshError):
    """A request asks for more time, memory or documents than its caller may use."""


class StoreError(MeshError):
    """The store is unavailable, or holds data of a newer format."""


class ForeignRootError(StoreError):
    """The mesh in the store has another root certificate than this control plane."""
