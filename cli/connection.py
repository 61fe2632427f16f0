"""The command line's door to the admin API: one blocking request with the standard library.

The typed client of `control_plane.api.client` takes longer to import than most verbs take to answer.
"""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from control_plane.api import discovery, failures
from control_plane.api.operations import Call


def ask(call: Call, state: Path | None = None) -> Any:
    """The answer to a call as plain JSON; raises UnreachableError or ApiError."""
    endpoint = discovery.find(os.environ, state)
    parts = urlsplit(endpoint.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=call.timeout)
    headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
    body = None if call.body is None else json.dumps(call.body).encode()
    try:
        connection.request(call.method, parts.path + call.path, body, headers)
        answer = connection.getresponse()
        return failures.decode(answer.status, answer.read())
    except TimeoutError:
        raise failures.UnreachableError(endpoint.url, f"no answer in {call.timeout:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise failures.UnreachableError(endpoint.url, failures.reason(error)) from None
    finally:
        connection.close()
