"""Gathers the facts of a mesh from its admin API."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from meshwright.cli.doctor.facts import MeshFacts
from meshwright.cli.http import api_connection, api_endpoint, api_path, call_api
from meshwright.cli.version import mesh_parts, mesh_skews
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.api.version_skew import THIS_COMMAND

STUCK_AFTER = 3.0
"""Seconds after which a configuration that was sent should be ACKed. Envoy responds within milliseconds."""


def gather_mesh(state: Path | None) -> MeshFacts:
    """The facts of a mesh; raises UnreachableError or InputError without one, ApiError if it refuses.

    Waits for STUCK_AFTER seconds if a proxy has not ACKed what it was sent.
    """
    offset = clock_offset(state)
    status = call_api(calls.status(), state)
    proxies = call_api(calls.proxies(), state)["proxies"]
    stuck = _pending(proxies)
    if stuck:
        time.sleep(STUCK_AFTER)
        stuck = still_pending(stuck, _pending(call_api(calls.proxies(), state)["proxies"]))
    tokens = None
    with suppress(errors.ApiError):  # the read-only token may not list them
        tokens = call_api(calls.tokens(), state)["tokens"]
    return MeshFacts(
        clock_offset=offset,
        now=time.time(),
        status=status,
        proxies=proxies,
        stuck=tuple(sorted(stuck)),
        tokens=tokens,
        skews=mesh_skews((THIS_COMMAND, *mesh_parts(status, proxies)), state),
    )


def _pending(proxies: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The newest revision that each pending proxy has responded to."""
    return {
        f"{item['service']}/{item['name']}": item["responded_revision"]
        for item in proxies
        if item["state"] == "pending"
    }


def still_pending(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Those that are pending in both and have responded to nothing in between."""
    return {name: number for name, number in after.items() if before.get(name) == number}


def clock_offset(state: Path | None) -> float:
    """Seconds by which the control plane's clock is ahead of this host's, by the Date of a response.

    Exact to a second. 0 if the response has no date. Raises UnreachableError.
    """
    endpoint = api_endpoint(state)
    connection = api_connection(endpoint, calls.TIMEOUT)
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    try:
        before = time.time()
        connection.request("GET", api_path(endpoint, "/"), headers=headers)
        response = connection.getresponse()
        response.read()
        middle = (before + time.time()) / 2
        date = parsedate_to_datetime(response.headers["Date"]).timestamp() + 0.5
    except (TypeError, ValueError):
        return 0.0
    except (OSError, http.client.HTTPException) as error:
        raise errors.UnreachableError(endpoint.url, errors.os_error_text(error)) from None
    finally:
        connection.close()
    offset = date - middle
    return 0.0 if abs(offset) < 1 else offset
