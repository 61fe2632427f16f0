"""Log lines about peers that have not proved who they are: one line each, at a bounded rate.

Such a peer can cause them as often as it likes, and the log is the only record of who did what.
"""

from __future__ import annotations

import logging
import time

import structlog

from meshwright.control_plane.rate_limit import Rate, RefusalRateLimiter

LOG_RATES = (Rate(burst=20, per_second=0.2), Rate(burst=100, per_second=2))
"""Lines of one peer, and of all peers together: below 1 kB/s."""

log = structlog.get_logger(__name__)


class PeerLog:
    """Warnings that peers can cause as often as they like: bounded, with the number of those left out."""

    def __init__(self, listener: str) -> None:
        self._listener = listener
        self._limiter = RefusalRateLimiter(*LOG_RATES)
        self._suppressed = 0

    def warning(self, event: str, peer: str, **fields: object) -> None:
        """Log one line, unless there were too many."""
        if not self._limiter.allow(f"{event} {peer}", time.monotonic()):
            self._suppressed += 1
            return
        if self._suppressed:
            fields["suppressed"] = self._suppressed
            self._suppressed = 0
        log.warning(event, listener=self._listener, peer=peer, **fields)


class LogRateFilter(logging.Filter):
    """Lets through what all peers together may cause; the rest is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._limiter = RefusalRateLimiter(LOG_RATES[1], LOG_RATES[1])

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record."""
        return self._limiter.allow(record.name, time.monotonic())


class _RequestLogHandler(logging.Handler):
    """Takes what aiohttp logs about malformed requests: one short line instead of a traceback."""

    def __init__(self, lines: PeerLog) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Log the error's type and first line."""
        error = record.exc_info[1] if record.exc_info else None
        text = str(error).partition("\n")[0][:120] if error else record.msg
        peer = record.args[0] if isinstance(record.args, tuple) and record.args else "unknown"
        self._lines.warning("malformed request", str(peer), reason=f"{type(error).__name__}: {text}")


def request_logger(lines: PeerLog) -> logging.Logger:
    """A logger for aiohttp's server."""
    logger = logging.Logger(__name__, logging.WARNING)
    logger.addHandler(_RequestLogHandler(lines))
    return logger
