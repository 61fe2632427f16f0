"""Failed requests to the control plane: every problem is shown, an outage is logged once."""

from __future__ import annotations

from structlog.testing import capture_logs

from meshwright.sidecar.outage_log import OutageLog


def test_outage_is_logged_at_its_start_and_its_end() -> None:
    problems: list[tuple[str, str]] = []
    outages = OutageLog("orders-1", lambda kind, reason: problems.append((kind, reason)))
    with capture_logs() as logs:
        outages.worked("lease")
        outages.failed("lease", "timeout")
        outages.failed("identity", "timeout")
        outages.worked("lease")
    assert problems == [("lease", ""), ("lease", "timeout"), ("identity", "timeout"), ("lease", "")]
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("control plane request failed", "warning"),
        ("control plane requests succeed again", "info"),
    ]
