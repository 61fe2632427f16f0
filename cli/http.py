"""The HTTP client of the commands: the admin API over http.client, Envoy's admin socket, probes of URLs.

`control_plane.api.client` has the typed client; its import takes longer than most commands run.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.calls import ApiCall
from meshwright.control_plane.api.mesh_locator import ApiEndpoint


class UnixHTTPConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def api_endpoint(state: Path | None = None) -> ApiEndpoint:
    """The admin API that the options and the environment name; raises UnreachableError or InputError."""
    return mesh_locator.locate_mesh(os.environ, state)


def api_connection(endpoint: ApiEndpoint, timeout: float) -> http.client.HTTPConnection:
    """An unopened connection to an admin API."""
    parts = urlsplit(endpoint.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout)


def api_path(endpoint: ApiEndpoint, path: str) -> str:
    """The request path of an API path, which may be below a prefix."""
    return urlsplit(endpoint.url).path + path


def call_api(call: ApiCall, state: Path | None = None) -> Any:
    """Make a call of the admin API and return its JSON; raises UnreachableError or ApiError."""
    endpoint = api_endpoint(state)
    connection = api_connection(endpoint, call.timeout)
    headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
    body = None if call.body is None else json.dumps(call.body).encode()
    try:
        connection.request(call.method, api_path(endpoint, call.path), body, headers)
        response = connection.getresponse()
        return errors.parse_response(response.status, response.read())
    except TimeoutError:
        raise errors.UnreachableError(endpoint.url, f"no response within {call.timeout:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise errors.UnreachableError(endpoint.url, errors.os_error_text(error)) from None
    finally:
        connection.close()


def responds(url: str, timeout: float) -> bool:
    """Whether a GET of a URL succeeds within `timeout` seconds, without a proxy."""
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout):
            return True
    except (OSError, ValueError):
        return False
