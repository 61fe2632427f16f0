"""Takes from the scratch Envoy what no verdict needs: files, the network, and the outliving of its parent.

An EnvoyPatch may name any file and any peer, and whoever may only look at the mesh may ask what one would
change. Landlock (landlock(7)) allows what follows here and nothing else; it does not govern datagrams, which
a filter of system calls (seccomp(2)) refuses. As a script, on the standard library alone, this becomes a
confined program: `confinement.py BINARY ARGUMENT...`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
import sys
from pathlib import Path

MIN_ABI = 4
"""The first version that governs TCP, Linux 6.7: an Envoy that may call somebody gets code from there."""

READABLE = (
    *(
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/nix/store",
        "/etc/ld.so.cache",
        "/dev/null",
        "/dev/urandom",
    ),
    *("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/localtime", "/proc/self"),
    *("/sys/devices/system/cpu", "/sys/fs/cgroup"),
    *("/etc/ssl/certs/ca-certificates.crt", "/usr/share/ca-certificates"),
)
"""What a program needs to start, and the roots of certification that policies name."""

MAX_DATA_BYTES = 2 << 30
"""Memory of an Envoy that reads a configuration: 100 services need some 200 MiB."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of system calls, the same on every architecture (asm-generic/unistd.h)."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_MAKE_FILE = 1 << 8
_ALL_FILES, _ALL_TCP = (1 << 15) - 1, 3
"""Rights of version 4 (linux/landlock.h): every use of files, and bind and connect of TCP."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 38, 9
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

_SOCKET_CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Of each machine: its number (AUDIT_ARCH_*, linux/audit.h), and that of socket(2)."""

_ARCHITECTURE, _NUMBER, _FAMILY, _TYPE = 4, 0, 16, 24
"""Offsets in seccomp_data: what is called, and its first two arguments (little endian)."""

_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
"""Instructions of the filter (linux/bpf_common.h)."""

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES

_LIBC = ctypes.CDLL(None, use_errno=True)


def is_possible(binary: Path) -> bool:
    """Whether this kernel can confine a program. Scripts are not: their interpreter could be anywhere."""
    with binary.open("rb") as file:
        is_script = file.read(2) == b"#!"
    return not is_script and _LIBC.syscall(_CREATE_RULESET, None, 0, 1) >= MIN_ABI


def confine(binary: str, folder: str) -> None:
    """Allow this process to run `binary`, to use files in `folder`, and to read READABLE, from now on.

    Raises OSError.
    """
    rules = struct.pack("=QQ", _ALL_FILES, _ALL_TCP)
    ruleset = _checked(_LIBC.syscall(_CREATE_RULESET, rules, len(rules), 0))
    read = _READ_FILE | _READ_DIR
    _allow(ruleset, binary, _EXECUTE | _READ_FILE)
    _allow(ruleset, folder, read | _WRITE_FILE | _MAKE_FILE | _TRUNCATE)
    for path in READABLE:
        # The loader of programs is among the libraries.
        _allow(ruleset, path, read | (_EXECUTE if "lib" in path.split("/")[-1] else 0))
    _checked(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_LIBC.syscall(_RESTRICT_SELF, ruleset, 0))
    _refuse_datagrams()


def _refuse_datagrams() -> None:
    """Refuse sockets of IPv4 and IPv6 other than streams, whose use Landlock governs. Raises OSError."""
    if os.uname().machine not in _SOCKET_CALLS:
        return
    machine, socket_call = _SOCKET_CALLS[os.uname().machine]
    # Code, jump if equal, jump if not, operand. A call of another machine's convention is none of Envoy's.
    program = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, 8, machine),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 7, socket_call),
        (_LOAD, 0, 0, _FAMILY),
        (_EQUAL, 1, 0, socket.AF_INET),
        (_EQUAL, 0, 4, socket.AF_INET6),
        (_LOAD, 0, 0, _TYPE),
        (_AND, 0, 0, 0xF),
        (_EQUAL, 1, 0, socket.SOCK_STREAM),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    pointer = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    _checked(_LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, pointer, 0, 0))


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Allow rights below a path, if it exists."""
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not Path(path).is_dir():
            rights &= _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE
        _checked(_LIBC.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, parent), 0))
    finally:
        os.close(parent)


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def main(command: list[str]) -> None:
    """Become a program that ends with its parent, yields to the mesh itself, and is confined if possible."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    os.nice(10)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MAX_DATA_BYTES if most == resource.RLIM_INFINITY else min(most, MAX_DATA_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if is_possible(Path(command[0])):
        confine(command[0], ".")
    os.execv(command[0], command)  # noqa: S606 - it becomes the program: no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
