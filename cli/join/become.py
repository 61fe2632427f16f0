"""The process of an instance runs another program, in its place: the agent of another installation.

It stays the same process, for a terminal, a service manager, and its children. Envoy and app go on, as after
an agent that was killed, and so does the lock of the instance's folder: nobody takes it for abandoned.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

from meshwright.cli.state_lock import StateLock

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What drains and stops an instance."""


def become(lock: StateLock, command: Sequence[str], environment: Mapping[str, str | None]) -> None:
    """Run `command` with the lock's descriptor as its last argument; raises OSError if it cannot be run.

    SIGNALS wait until the other program handles them: until then they would end it and nothing else.
    """
    changed = {**os.environ, **environment}
    variables = {name: text for name, text in changed.items() if text is not None}
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        os.execve(command[0], [*command, str(lock.inheritable())], variables)  # noqa: S606  for the socket's owner
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
