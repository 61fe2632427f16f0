"""Tells systemd that a service is ready and that its event loop turns, so that one that hangs is restarted.

The protocol is that of sd_notify(3): lines `NAME=value` in datagrams to the socket in NOTIFY_SOCKET. Without
that variable, outside a unit of `Type=notify`, nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import socket
from collections.abc import Mapping


class NotifySocket:
    """That of the manager which started this process, as its environment says."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog = _watchdog_timeout(environment) if self._address else 0.0

    def ready(self) -> None:
        """The service serves: systemd starts the units that come after it."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text.splitlines()[0] if text else ''}")

    def stopping(self) -> None:
        """The service stops, for whatever reason."""
        self._send("STOPPING=1")

    async def feed_watchdog(self) -> None:
        """Report from the event loop that it turns, until cancelled. Returns at once without a watchdog.

        The manager ends a process that hangs by SIGABRT: its stacks then say where it hung.
        """
        if self._watchdog:
            faulthandler.enable()
        while self._watchdog:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 3)

    def _send(self, text: str) -> None:
        """A manager that does not listen changes nothing for the service."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify,
        ):
            notify.setblocking(False)
            notify.sendto(text.encode(), address)


def _watchdog_timeout(environment: Mapping[str, str]) -> float:
    """Seconds without a report after which the manager restarts this process; 0: it does not watch it."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0
