"""The control plane's exceptions; each maps to one exit code of `mesh` and one status of the admin API.

MeshError
├── InputError          bad input or usage: exit 2, HTTP 400/422
├── NotFoundError       no such kind, name or revision: exit 2, HTTP 404
├── RevisionConflict    somebody else changed the mesh meanwhile: exit 6, HTTP 409
├── UnansweredError     a sidecar does not answer in time: exit 4, HTTP 504
├── RefusedError        an identity, token or CSR is not entitled: HTTP 403
├── BusyError           too many ask for the same at once: HTTP 503 with Retry-After
└── StoreError          the store cannot be reached or is not ours: HTTP 503
"""

from __future__ import annotations


class MeshError(Exception):
    """Anything a user or peer can cause or must know of; its text is one clear line."""


class InputError(MeshError):
    """Bad input; `args[0]` may hold several lines, one for each problem."""


class NotFoundError(MeshError):
    """A kind, name or revision that does not exist."""


class RevisionConflictError(MeshError):
    """The revision a change was based on is no longer the newest. `current` is."""

    def __init__(self, base: int, current: int) -> None:
        super().__init__(
            f"revision {base} is no longer the newest ({current} is): look at `mesh diff`, then apply again"
        )
        self.base = base
        self.current = current


class PermissionDeniedError(MeshError):
    """A peer asked for what its identity, token or request does not entitle it to."""


class CommandTimeoutError(MeshError, TimeoutError):
    """A sidecar that was asked does not answer in time, or its Envoy does not."""


class OverloadedError(MeshError):
    """Too many ask for this at once; a little later there may be room."""


class StoreError(MeshError):
    """The store cannot be reached, or holds data of a newer format."""
