"""The limit on open files: every connection is a file, and the usual soft limit of 1024 is soon reached.

The soft limit is low for programs that use select(2), which cannot name larger numbers. Nothing here does, so
our processes take all they may have, and give what they start the limit they had, as Go's runtime does
(https://0pointer.net/blog/file-descriptor-limits.html).
"""

from __future__ import annotations

import contextlib
import resource

MOST = 1_048_576
"""The limit to take where the hard limit is infinite."""

_inherited: list[tuple[int, int]] = []


def raise_open_files_limit() -> int:
    """Raise the soft limit of this process to the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _inherited:
        _inherited.append((soft, hard))
    goal = MOST if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= goal:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
    return goal


def restore_open_files_limit(pid: int) -> None:
    """Give a child the limits that this process had before it raised them."""
    for limits in _inherited:
        with contextlib.suppress(OSError):  # the child has ended, or has other rights
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
