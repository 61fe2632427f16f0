"""What the exit codes of `mesh` mean."""

from __future__ import annotations

from meshwright.cli.errors import INTERRUPTED
from meshwright.control_plane.api import errors

EXIT_CODES = {
    0: "ok",
    errors.FAILED: (
        "failed, or the token is read-only; for `mesh diff`: something would change; for `mesh lint`: "
        "there is a finding; "
        "for `mesh status --check` and `mesh doctor`: there is a problem"
    ),
    errors.BAD_INPUT: "bad input or usage",
    errors.UNREACHABLE: "control plane unreachable",
    errors.TIMED_OUT: "a wait timed out",
    errors.REJECTED: "rejected by Envoy",
    errors.CONFLICT: "revision conflict: the mesh was changed in the meantime",
    INTERRUPTED: "interrupted",
}
"""Exit code to meaning. `mesh run` passes on the exit code of its process instead."""
