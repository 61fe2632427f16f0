"""docker-compose.yml, the Dockerfile and init.py as files: references, ports, secrets, commands, settings."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509

from tests.deploy import compose_file

ROOT = Path(__file__).parents[2]

CHECK_HTTP = ROOT / "deploy/check-http"

LIST_SYNTAX = re.compile(r"""["',]|\n *- """)
"""What separates the words of a command in a JSON or YAML list."""

MODULE = re.compile(r"\bpython +(?P<safe>-P +)?-m +(?P<module>[\w.]+)")


def test_files_are_valid_by_the_compose_specification() -> None:
    check = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    files = ("docker-compose.yml", "deploy/compose/watch.yml")
    argv = [*check, *(str(ROOT / file) for file in files)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_watched_services_are_those_of_the_application() -> None:
    """Each by its own folder and by what all share, into an image of its own."""
    watched = compose_file.read(ROOT / "deploy/compose/watch.yml")["services"]
    services = compose_file.read(ROOT / "docker-compose.yml")["services"]
    ours = {name for name in services if "meshwright.services." in str(services[name].get("command"))}
    assert watched.keys() == ours
    folders, shared = set(), set()
    for name, service in watched.items():
        folder, *others = (rule["path"] for rule in service["develop"]["watch"])
        module = str(services[name]["command"][-1]).rpartition(".")[2]
        assert (service["image"], folder) == (f"meshwright-{name}", f"services/{module}")
        folders.add(folder)
        shared.add(frozenset(others))
    packages = {f"services/{file.parent.name}" for file in (ROOT / "services").glob("*/__init__.py")}
    assert shared == {frozenset(packages - folders)}


def test_every_reference_resolves() -> None:
    """Mounted files, volumes, secrets, dependencies, joined networks; and each port is published once."""
    file = compose_file.read(ROOT / "docker-compose.yml")
    services, published = file["services"], []
    for name, service in services.items():
        assert compose_file.network_owner(services, name) in services
        assert set(service.get("depends_on", ())) <= services.keys(), name
        for source, _, _ in compose_file.mounts(service, name):
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in file["volumes"], f"{name}: {source}"
        published += [port.rpartition(":")[0] for port in service.get("ports", ())]
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert len(set(published)) == len(published)
    assert all(address.startswith("127.0.0.1:") for address in published)


def image_sources() -> list[str]:
    """What the Dockerfile copies from the repository."""
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    copies = [line.split() for line in lines if line.startswith("COPY ") and "--from" not in line]
    return [source for words in copies for source in words[1:-1]]


def test_files_that_the_image_copies_exist_and_are_not_ignored() -> None:
    """Otherwise only the build of the image fails."""
    ignore_file = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {pattern.removeprefix("!") for pattern in ignore_file if pattern.startswith("!")}
    sources = image_sources()
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, source


def test_image_copies_all_files_of_the_wheel() -> None:
    """The image builds the wheel from what it copies."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = image_sources()
    for pattern in wheel["include"]:
        path = Path(pattern.lstrip("/"))
        assert any(path.is_relative_to(source) for source in sources), pattern


def test_python_modules_of_every_command_exist() -> None:
    """`python -m MODULE` of the image, Compose, Kubernetes and systemd; the mesh's own modules with -P."""
    files = [ROOT / "docker-compose.yml", *(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]
    commands = [
        (path.name, match["safe"], match["module"])
        for path in files
        if path.suffix in ("", ".yml", ".yaml", ".service") and "data" not in path.parts
        for match in MODULE.finditer(LIST_SYNTAX.sub(" ", path.read_text()))
    ]
    assert {module for _, _, module in commands} >= {"meshwright.control_plane", "meshwright.services.orders"}
    for file, safe, module in commands:
        assert find_spec(module), f"{file}: {module}"
        assert safe or not module.startswith("meshwright.control_plane"), f"{file}: {module} without -P"


def test_one_service_builds_the_image_for_all() -> None:
    """Several builds of one tag fail at the first `up --build`, or differ without a change."""
    services = compose_file.read(ROOT / "docker-compose.yml")["services"]
    assert [name for name, service in services.items() if "build" in service] == ["init"]
    ours = [name for name, service in services.items() if service["image"] == "meshwright"]
    assert {services[name]["pull_policy"] for name in ours if name != "init"} == {"never"}


def test_no_container_joins_the_network_of_another() -> None:
    """It would keep a dead namespace when the other restarts."""
    services = compose_file.read(ROOT / "docker-compose.yml")["services"]
    assert {name for name, service in services.items() if "network_mode" in service} == {"init"}
    assert services["init"]["network_mode"] == "none"


def test_only_services_without_state_or_port_can_be_scaled() -> None:
    """A second container would share volume, host name or port of the first. A name prevents it."""
    variables = {"COMPOSE_PROJECT_NAME": "exchange"}
    services = compose_file.read(ROOT / "docker-compose.yml", variables)["services"]
    for name, service in services.items():
        volumes = [
            source for source, _, is_read_only in compose_file.mounts(service, name) if not is_read_only
        ]
        alone = bool(volumes or "ports" in service or "hostname" in service)
        assert service.get("container_name", "") == (f"exchange-{name}-1" if alone else ""), name


def test_health_checks_are_rare_once_a_container_is_ready() -> None:
    """Each starts a process, in twenty containers. On a busy host one that is late is no failure."""
    file = compose_file.read(ROOT / "docker-compose.yml")["services"]
    checks = {
        name: {key: service["healthcheck"][key] for key in ("interval", "timeout", "start_period")}
        for name, service in file.items()
        if "test" in service.get("healthcheck", {})
    }
    assert checks.keys() >= {"valkey", "postgres", "setup"}
    image = re.search(r"^HEALTHCHECK (.*)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert image
    options = dict(re.findall(r"--([\w-]+)=(\w+)", image[1]))
    checks["image"] = {key: options[key.replace("_", "-")] for key in ("interval", "timeout", "start_period")}
    for name, check in checks.items():
        assert check == {"interval": "30s", "timeout": "30s", "start_period": "300s"}, name


@pytest.mark.parametrize("status", [200, 204, 404, 503])
def test_check_http_accepts_200_only(status: int) -> None:
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/health/ready"
        calls: list[tuple[list[str], dict[str, str]]] = [([url], {}), ([], {"HEALTH_URL": url})]
        for argv, environment in calls:
            done = subprocess.run([str(CHECK_HTTP), *argv], env=environment, timeout=60, check=False)
            assert (done.returncode == 0) == (status == 200)
        server.shutdown()
    assert paths == ["/health/ready", "/health/ready"]


def test_check_http_fails_where_nothing_listens() -> None:
    with socket.socket() as bound:  # which does not listen
        bound.bind(("127.0.0.1", 0))
        argv = [str(CHECK_HTTP), f"http://127.0.0.1:{bound.getsockname()[1]}/"]
        assert subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode != 0


def test_image_installs_dependencies_before_it_copies_code() -> None:
    """So a change of the code keeps the layer of dependencies."""
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    copies = [
        number for number, line in enumerate(lines) if line.startswith("COPY ") and "--from" not in line
    ]
    installs = [number for number, line in enumerate(lines) if "--require-hashes" in line]
    assert installs
    assert [lines[number] for number in copies if number < max(installs)] == [
        "COPY requirements requirements"
    ]


def test_every_port_can_be_changed() -> None:
    """Or one port in use stops all of `docker compose up`."""
    names = ("INGRESS", "ADMIN", "PROMETHEUS", "ALERTMANAGER", "GRAFANA", "JAEGER")
    variables = {f"{name}_PORT": str(20000 + number) for number, name in enumerate(names)}
    services = compose_file.read(ROOT / "docker-compose.yml", variables)["services"]
    published = [port.split(":")[1] for service in services.values() for port in service.get("ports", ())]
    assert sorted(published) == sorted(variables.values())


def test_every_service_with_tables_has_a_database_of_its_own() -> None:
    """Replicas share it. `init.py` gives the password to the containers with DATABASE_URL."""
    stores = {path.parent.name for path in (ROOT / "services").glob("*/store.py")}
    created = re.findall(r"CREATE DATABASE (\w+);", (ROOT / "deploy/compose/databases.sql").read_text())
    services = compose_file.read(ROOT / "docker-compose.yml")["services"].values()
    urls = [compose_file.environment(service).get("DATABASE_URL", "") for service in services]
    assert stores == set(created) == {url.rpartition("/")[2] for url in urls if url}
    modes = [compose_file.environment(service).get("PGSSLMODE") for service in services]
    assert {mode for url, mode in zip(urls, modes, strict=True) if url} == {"verify-full"}


def test_each_container_sees_only_the_secrets_that_it_needs() -> None:
    services = compose_file.read(ROOT / "docker-compose.yml")["services"]
    mounted: dict[str, set[str]] = {}
    for name, service in services.items():
        sources = {source for source, *_ in compose_file.mounts(service, name)}
        mounted[name] = {source for source in sources if source.startswith(("secrets", "tokens"))}
    assert [name for name, sources in mounted.items() if "secrets" in sources] == ["init"]
    assert all(source.startswith("tokens-") for source in mounted["setup"])
    assert mounted["orders"] == {"tokens-orders", "secrets-services"}
    assert mounted["storefront"] == {"tokens-storefront"}
    assert mounted["grafana"] == {"secrets-grafana"}


def test_every_mesh_variable_is_a_documented_setting() -> None:
    """Nothing reads a misspelt name, so it would have no effect."""
    file = compose_file.read(ROOT / "docker-compose.yml")
    documented = (ROOT / "docs/reference.md").read_text()
    for name, service in file["services"].items():
        for variable in compose_file.environment(service):
            if variable.startswith("MESH_"):
                assert f"`{variable}`" in documented, f"{name}: {variable}"


@pytest.fixture
def init(tmp_path: Path) -> ModuleType:
    """init.py, on folders of the test."""
    module = compose_file.init_module()
    module.SECRETS, module.VOLUMES = tmp_path / "secrets", tmp_path / "volumes"  # type: ignore[attr-defined]
    module.SECRETS.mkdir()
    for volume in (*module.COPIES, "valkey"):
        (module.VOLUMES / volume).mkdir(parents=True)
    return module


def test_init_creates_private_secrets_once(init: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNER", str(os.getuid()))
    init.main()
    files = {path: path.read_bytes() for path in sorted(init.VOLUMES.rglob("*")) if path.is_file()}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert {path.name for path in files if path.parent.name == "secrets-grafana"} == {
        "grafana.password",
        "read.token",
    }
    assert [path.parent.name for path in files if path.name == "postgres.key"] == ["secrets-postgres"]
    trusted = init.VOLUMES / "secrets-services/postgres.pem"
    assert trusted.read_bytes() == files[init.VOLUMES / "secrets-postgres/postgres.pem"]
    root = x509.load_pem_x509_certificate((init.SECRETS / "root.pem").read_bytes())
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    init.main()
    assert files == {path: path.read_bytes() for path in files}


def test_init_restores_a_lost_copy_and_keeps_data(init: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNER", str(os.getuid()))
    init.main()
    password = init.VOLUMES / "secrets-valkey/valkey.password"
    before = password.read_bytes()
    password.unlink()
    (init.VOLUMES / "valkey/appendonly.aof").write_text("data")
    init.main()
    assert password.read_bytes() == before
    assert (init.VOLUMES / "valkey/appendonly.aof").read_text() == "data"
