"""The command line's door to the admin API: one blocking request with the standard library.

The typed client of `meshwright.control_plane.api.client` takes longer to import than most verbs take to answer.
"""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.calls import ApiCall


def call_api(call: ApiCall, state: Path | None = None) -> Any:
    """The answer to a call as plain JSON; raises UnreachableError or ApiError."""
    endpoint = mesh_locator.locate_mesh(os.environ, state)
    parts = urlsplit(endpoint.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=call.timeout)
    headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
    body = None if call.body is None else json.dumps(call.body).encode()
    try:
        connection.request(call.method, parts.path + call.path, body, headers)
        answer = connection.getresponse()
        return errors.parse_response(answer.status, answer.read())
    except TimeoutError:
        raise errors.UnreachableError(endpoint.url, f"no answer in {call.timeout:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise errors.UnreachableError(endpoint.url, errors.os_error_text(error)) from None
    finally:
        connection.close()
