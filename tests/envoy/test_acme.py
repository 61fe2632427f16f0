"""The recipe of docs/tls.md: certbot gets and renews a certificate through the gateway that serves it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import trustme
from cryptography import x509

from tests.envoy.harness import running_mesh, service, until
from tests.envoy.routes.certificates import TlsClient, write
from tests.fakes.dns_server import DnsRecords, running_dns_server
from tests.fakes.ports import free_port

pytestmark = pytest.mark.long

HOST = "shop.test"

DOCUMENTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ingress}}
spec:
  gatewayClassName: any
  listeners:
  - {{name: http, port: 8080, protocol: HTTP}}
  - {{name: https, port: {port}, protocol: HTTPS, tls: {{certificateRefs: [{{name: shop}}]}}}}
---
apiVersion: meshwright.io/v1
kind: Certificate
metadata: {{name: shop}}
spec:
  certificateFile: {folder}/acme/live/{host}/fullchain.pem
  privateKeyFile: {folder}/acme/live/{host}/privkey.pem
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: acme}}
spec:
  parentRefs: [{{name: ingress, sectionName: http}}]
  rules:
  - matches: [{{path: {{value: /.well-known/acme-challenge/}}}}]
    backendRefs: [{{name: acme}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec: {{parentRefs: [{{name: ingress, sectionName: https}}], rules: [{{backendRefs: [{{name: back}}]}}]}}
"""


@contextmanager
def acme_server(folder: Path, challenges: int) -> Iterator[dict[str, str]]:
    """An ACME server that asks 127.0.0.1 at the port `challenges`. Yields its URL and its CA's file."""
    authority, port, ca = trustme.CA(), free_port(), folder / "acme-server-ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    write(authority.issue_cert("localhost"), folder / "acme-server")
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(folder / "acme-server.crt"),
        "privateKey": str(folder / "acme-server.key"),
        "httpPort": challenges,
        "tlsPort": challenges,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
    url, records = f"https://localhost:{port}/dir", DnsRecords({HOST: ["127.0.0.1"]})
    with running_dns_server(records), (folder / "pebble.log").open("w") as log:
        process = subprocess.Popen(
            [
                tool("pebble"),
                "-config",
                str(folder / "pebble.json"),
                "-dnsserver",
                f"127.0.0.1:{records.port}",
            ],
            env={**os.environ, "PEBBLE_VA_NOSLEEP": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: answers(url, ca), "the ACME server")
            yield {"url": url, "ca": str(ca)}
        finally:
            process.kill()
            process.wait()


def answers(url: str, ca: Path) -> bool:
    """Whether an ACME server responds."""
    try:
        return requests.get(url, verify=str(ca), timeout=10).ok
    except requests.ConnectionError:
        return False


def certbot(folder: Path, server: dict[str, str], *arguments: str) -> None:
    """Run certbot as docs/tls.md tells."""
    folders = [item for name in ("config", "work", "logs") for item in (f"--{name}-dir", "acme")]
    done = subprocess.run(
        [tool("certbot"), *arguments, *folders, "--non-interactive", "--server", server["url"]],
        cwd=folder,
        env={**os.environ, "REQUESTS_CA_BUNDLE": server["ca"]},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def tool(name: str) -> str:
    """The path of an installed program."""
    path = shutil.which(name)
    assert path, f"{name} is not installed: make test-long installs it"
    return path


def test_certbot_gets_and_renews_a_certificate_through_the_gateway(tmp_path: Path) -> None:
    file = tmp_path / "acme" / "live" / HOST / "fullchain.pem"

    def written() -> int:
        return x509.load_pem_x509_certificates(file.read_bytes())[0].serial_number

    def served() -> int:
        try:
            return TlsClient(None).serial(port, HOST)
        except OSError:
            return 0

    webroot, port = tmp_path / "acme" / "webroot", free_port()
    webroot.mkdir(parents=True)
    challenges = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", str(webroot)]
    number = free_port()
    acme = {
        "name": "acme",
        "command": [sys.executable, *challenges, str(number)],
        "ports": [{"name": "http", "port": number}],
    }
    with running_mesh(tmp_path, [service("back"), acme]) as mesh:
        mesh.apply(DOCUMENTS.format(port=port, host=HOST, folder=tmp_path))
        with acme_server(tmp_path, mesh.ingress_port) as server:
            terms = ("--agree-tos", "--register-unsafely-without-email")
            certbot(tmp_path, server, "certonly", "--webroot", "-w", str(webroot), "-d", HOST, *terms)
            first = written()
            until(lambda: served() == first, "the first certificate is served")
            assert TlsClient(None).get(port, HOST)[0] == 200
            certbot(tmp_path, server, "renew", "--force-renewal", "--no-random-sleep-on-renew")
            assert written() != first
            until(lambda: served() == written(), "the renewed certificate is served")
