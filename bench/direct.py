"""The exchange without a mesh: the same services, which call each other directly, and their routes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import requests
from ruamel.yaml import YAML

from meshwright.cli.up import demo_application_file
from meshwright.services.kit.callers import EMAIL, ROLES, SESSION, USER
from tests.envoy.harness import ROOT, until
from tests.fakes.ports import free_port


def routes() -> dict[str, str]:
    """The service of each path prefix, by the routes of the exchange's ingress."""
    prefixes: dict[str, str] = {}
    for file in sorted((demo_application_file().parent / "policies").glob("*.yaml")):
        for document in YAML(typ="safe").load_all(file.read_text()):
            if document["kind"] == "HTTPRoute":
                for rule in document["spec"]["rules"]:
                    paths = {match["path"]["value"] for match in rule["matches"]}
                    prefixes |= dict.fromkeys(paths, rule["backendRefs"][0]["name"])
    return prefixes


class DirectSession:
    """Sends each request to the service of its path, with the claims of its token as the ingress would.

    It is what the traffic's sender uses of aiohttp's session. The token is not verified.
    """

    def __init__(self, session: aiohttp.ClientSession, ports: dict[str, int]) -> None:
        self._session = session
        self._ports = {prefix: ports[name] for prefix, name in routes().items()}

    def request(self, method: str, path: str, *, headers: dict[str, str], **options: Any) -> Any:
        """aiohttp's context of the response."""
        prefix = max((prefix for prefix in self._ports if path.startswith(prefix)), key=len)
        claimed = _claims(headers.get("Authorization", ""))
        url = f"http://127.0.0.1:{self._ports[prefix]}{path}"
        return self._session.request(method, url, headers={**headers, **claimed}, **options)


def _claims(authorization: str) -> dict[str, str]:
    if not authorization:
        return {}
    payload = authorization.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    roles = base64.urlsafe_b64encode(json.dumps(claims["roles"]).encode()).decode()
    return {USER: claims["sub"], EMAIL: claims["email"], ROLES: roles, SESSION: claims["sid"]}


@dataclass(frozen=True)
class DirectExchange:
    """The ports of the services by name, and all process ids."""

    ports: dict[str, int]
    pids: list[int]


@contextmanager
def direct_exchange(folder: Path) -> Iterator[DirectExchange]:
    """Start the application's services, one of each, without sidecars, and wait until they are ready."""
    services = YAML(typ="safe").load(demo_application_file().read_text())["spec"]["services"]
    ports = {entry["name"]: free_port() for entry in services}
    grpc, smtp = free_port(), free_port()
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {
        **inherited, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder / "data"), "DIRECT": json.dumps(ports),
        "BROKER_ADDRESS": f"127.0.0.1:{ports['broker']}", "INBOX_ADDRESS": f"127.0.0.1:{smtp}",
        "ANALYTICS": f"127.0.0.1:{grpc}", "PORT_TCP": str(smtp),
    }  # fmt: skip
    extra = {"analytics": {"PORT_GRPC": str(grpc)}}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, port in ports.items():
            environ = {**settings, **extra.get(name, {}), "PORT": str(port)}
            command = [sys.executable, "-m", "bench.direct_service", name]
            with (folder / f"{name}.log").open("wb") as output:
                processes.append(
                    subprocess.Popen(command, env=environ, stdout=output, stderr=output, cwd=ROOT)
                )
        for name, port in ports.items():
            if name != "broker":
                until(partial(_is_ready, f"http://127.0.0.1:{port}/health/ready"), name, 150, 0.2)
        yield DirectExchange(ports, [process.pid for process in processes])
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def _is_ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code == 200
    except requests.ConnectionError:
        return False
