"""MESH_DOMAINS: services have a name in each of the domains, and other names there lead nowhere."""

from __future__ import annotations

from pathlib import Path

from tests.envoy.harness import running_mesh, service, until

DOMAINS = "internal,service.consul"


def test_services_have_names_in_every_domain(tmp_path: Path) -> None:
    with running_mesh(tmp_path, [service("front"), service("back")], MESH_DOMAINS=DOMAINS) as mesh:
        names = ("back", "back.mesh", "back.internal", "back.service.consul", "back.internal:80")
        until(lambda: mesh.get("front-1", "http://back/echo").status_code == 200, "the service")
        statuses = [mesh.get("front-1", f"http://{name}/echo").status_code for name in names]
        assert statuses == [200] * len(names)
        assert mesh.counts("back-1")["GET /echo"] >= len(names)
        missing = mesh.get("front-1", "http://nobody.internal/")
        assert (missing.status_code, missing.headers.get("server", "envoy")) == (404, "envoy")
        assert mesh.get("front-1", "http://back.internal:9/").status_code == 404
