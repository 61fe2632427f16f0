"""Runs a program under the system call filter of a systemd unit: `python syscall_filter.py UNIT PROGRAM ...`.

As under systemd, a system call that the unit does not allow kills the process with SIGSYS, and children
inherit the filter. Needs libseccomp and systemd-analyze, which lists the calls of sets like @system-service.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
"""Actions of a filter: SCMP_ACT_ALLOW and SCMP_ACT_KILL_PROCESS of seccomp.h."""


def allowed(unit: str) -> set[str]:
    """Names of the system calls that a unit's SystemCallFilter= lines allow, applied in their order."""
    names = members("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        deny, entries = line.startswith("~"), line.removeprefix("~").split()
        listed = {name for entry in entries for name in members(entry)}
        names = names - listed if deny else names | listed
    return names


@cache
def members(entry: str) -> set[str]:
    """The system calls of a set like @file-system and of its subsets; a plain name is a call."""
    if not entry.startswith("@"):
        return {entry}
    argv = ["/usr/bin/systemd-analyze", "syscall-filter", "--no-pager", entry]
    listing = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    entries = [line.strip() for line in listing.splitlines()[1:]]
    return {name for line in entries if line and not line.startswith("#") for name in members(line)}


def install(names: set[str]) -> None:
    """Kill this process, and what it starts, at any system call but these."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))
    for name in sorted(names):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # a negative number is a call of another architecture
            code = library.seccomp_rule_add_exact(context, ctypes.c_uint32(ALLOW), number, 0)
            if code:
                raise OSError(-code, f"no rule for {name}: {os.strerror(-code)}")
    code = library.seccomp_load(context)
    if code:
        raise OSError(-code, f"the filter cannot be loaded: {os.strerror(-code)}")


if __name__ == "__main__":
    install(allowed(Path(sys.argv[1]).read_text()))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  no shell: this is the test's own command
