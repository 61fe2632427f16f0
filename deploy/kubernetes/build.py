"""The manifests of the exchange on Kubernetes, made from services/application.yaml.

    python -m meshwright.deploy.kubernetes.build            # writes them
    python -m meshwright.deploy.kubernetes.build --check    # 1 when one differs from what would be written

Every pod of a service has its agent as a native sidecar container (an init container that is always
restarted; Kubernetes 1.29 and newer): it is there before the app and outlives it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from ruamel.yaml import YAML

from meshwright.deploy.kubernetes.parts import (
    IMAGE,
    STATE,
    WELL,
    Json,
    budget,
    command,
    deployment,
    field,
    http,
    meta,
    mount,
    pod,
    resources,
    sealed,
    secret_volume,
    service,
    spread,
    stateful,
    variables,
)

FOLDER = Path(__file__).parent
APPLICATION = FOLDER.parent.parent / "services" / "application.yaml"
HEAD = "# Made by `python -m meshwright.deploy.kubernetes.build`: change that, then run it again.\n"
APP_PORTS = {"http": 8000, "grpc": 50051}
SECRETS = "/run/secrets/mesh"
TMP = "/tmp"  # noqa: S108  a volume of the pod's own
MARKETS = ("trading", "storefront")
"""Services that keep nothing, hence have no database."""


def control_plane() -> list[Json]:
    """Two control planes that share a store, a root, the key of join tokens and the read-only token."""
    settings = variables(
        MESH_BIND="0.0.0.0",
        MESH_ADMIN_BIND="0.0.0.0",
        MESH_ADMIN_NAMES="control-plane",
        MESH_REDIS_URL="redis://valkey:6379/0",
        MESH_REDIS_PASSWORD_FILE=f"{SECRETS}/valkey.password",
        MESH_CA_CERTIFICATE=f"{SECRETS}/root.pem",
        MESH_CA_KEY=f"{SECRETS}/root.key",
        MESH_CA_TOKENS_KEY=f"{SECRETS}/tokens.key",
        MESH_READ_TOKEN_FILE=f"{SECRETS}/read.token",
    )
    ports = {"admin": 15080, "xds": 15012, "enrolment": 15011, "telemetry": 4317}
    container = {
        "name": "control-plane",
        "image": IMAGE,
        "command": ["python", "-P", "-m", "meshwright.control_plane"],
        "env": [field("MESH_ADVERTISE", "status.podIP"), *settings],
        "ports": [{"name": name, "containerPort": number} for name, number in ports.items()],
        "startupProbe": http("/healthz", 15080, periodSeconds=1, failureThreshold=60),
        "readinessProbe": http("/healthz", 15080, periodSeconds=5, timeoutSeconds=3),
        "livenessProbe": http("/healthz", 15080, periodSeconds=10, timeoutSeconds=5, failureThreshold=6),
        "resources": resources("250m", "256Mi"),
        "securityContext": sealed(),
        "volumeMounts": [
            mount("state", STATE),
            mount("tmp", TMP),
            mount("secrets", SECRETS, read_only=True),
        ],
    }
    volumes = [{"name": "state", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    spec = {
        "containers": [container],
        "topologySpreadConstraints": spread("control-plane"),
        "volumes": [*volumes, secret_volume("secrets", "mesh")],
    }
    name = "control-plane"
    return [deployment(name, 2, pod(name, spec)), service(name, ports, clusterIP="None"), budget(name)]


def valkey() -> list[Json]:
    """The store; its password comes by standard input, so that neither arguments nor variables show it."""
    lines = ("appendonly yes", "appendfsync always", "dir /data", "END")
    password = f"requirepass $(cat {SECRETS}/valkey.password)"
    configure = "\n".join(("exec valkey-server - <<END", password, *lines))
    ping = f'REDISCLI_AUTH="$(cat {SECRETS}/valkey.password)" valkey-cli ping | grep -q PONG'
    container = {
        "name": "valkey",
        "image": "valkey/valkey:8.1",
        "command": ["sh", "-c", configure],
        "ports": [{"name": "valkey", "containerPort": 6379}],
        "readinessProbe": command("sh", "-c", ping, periodSeconds=5, timeoutSeconds=3),
        "livenessProbe": command("sh", "-c", ping, periodSeconds=10, timeoutSeconds=5, failureThreshold=6),
        "resources": resources("100m", "128Mi"),
        "securityContext": sealed(),
        "volumeMounts": [mount("data", "/data"), mount("secrets", SECRETS, read_only=True)],
    }
    spec = {"containers": [container], "volumes": [secret_volume("secrets", "mesh")]}
    template = pod("valkey", spec, user=999)
    return [stateful("valkey", template, "2Gi"), service("valkey", {"valkey": 6379}), budget("valkey")]


def postgres() -> list[Json]:
    """The services' databases."""
    ready = command("pg_isready", "--username", "exchange", "--dbname", "analytics", periodSeconds=5)
    alive = command("pg_isready", "--username", "exchange", periodSeconds=10, failureThreshold=6)
    container = {
        "name": "postgres",
        "image": "postgres:17",
        "env": variables(
            POSTGRES_USER="exchange",
            POSTGRES_PASSWORD_FILE=f"{SECRETS}/postgres.password",
            PGDATA="/var/lib/postgresql/data/pgdata",
        ),
        "ports": [{"name": "postgres", "containerPort": 5432}],
        "startupProbe": {**ready, "failureThreshold": 60},
        "readinessProbe": ready,
        "livenessProbe": alive,
        "resources": resources("250m", "256Mi"),
        "securityContext": sealed(),
        "volumeMounts": [
            mount("data", "/var/lib/postgresql/data"),
            mount("run", "/var/run/postgresql"),
            mount("tmp", TMP),
            mount("databases", "/docker-entrypoint-initdb.d", read_only=True),
            mount("secrets", SECRETS, read_only=True),
        ],
    }
    volumes = [
        {"name": "run", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "databases", "configMap": {"name": "databases"}},
        secret_volume("secrets", "postgres"),
    ]
    spec = {"containers": [container], "volumes": volumes}
    template = pod("postgres", spec, user=999)
    return [
        stateful("postgres", template, "10Gi"),
        service("postgres", {"postgres": 5432}),
        budget("postgres"),
    ]


def ingress(name: str) -> list[Json]:
    """A gateway: an agent alone."""
    agent = {
        **_agent(["--gateway", name, "--listener", "http=8080"]),
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 15020}],
        "readinessProbe": http("/ready", 15020, periodSeconds=2),
        "livenessProbe": http("/ready", 15020, periodSeconds=10, failureThreshold=6),
        "resources": resources("200m", "128Mi"),
    }
    spec = {
        "containers": [agent],
        "terminationGracePeriodSeconds": 45,
        "topologySpreadConstraints": spread(name),
        "volumes": _agents_volumes(name),
    }
    return [deployment(name, 2, pod(name, spec)), service(name, {"http": 8080}), budget(name)]


def part(entry: Json) -> list[Json]:
    """A service of the application, or one version of it, with its agent beside it."""
    name, version = str(entry["name"]), str(entry.get("labels", {}).get("version", "v1"))
    full = str(entry["full"])
    ports = {port["name"]: APP_PORTS[port["protocol"]] for port in entry["ports"]}
    texts = [word for item, number in ports.items() for word in ("--port", f"{item}={number}")]
    values = ["--health", entry["health"], "--metrics", entry["metrics"], "--label", f"version={version}"]
    agent = {
        **_agent(["--service", name, *texts, *values]),
        "restartPolicy": "Always",
        "ports": [{"name": "mesh", "containerPort": 15006}, {"name": "metrics", "containerPort": 15020}],
        "startupProbe": http("/ready", 15020, periodSeconds=1, failureThreshold=120),
        "readinessProbe": http("/ready", 15020, periodSeconds=5),
        "livenessProbe": http("/ready", 15020, periodSeconds=10, failureThreshold=6),
        "resources": resources("100m", "128Mi"),
    }
    volumes = _agents_volumes(name)
    if name not in MARKETS:
        volumes.append(secret_volume("pgpass", "pgpass"))
    spec = {
        "initContainers": [agent],
        "containers": [_app(name, version, ports, str(entry["health"]))],
        "terminationGracePeriodSeconds": 45,
        "topologySpreadConstraints": spread(full),
        "volumes": volumes,
    }
    named = {"mesh": 15006, "metrics": 15020}
    return [deployment(full, 2, pod(full, spec)), service(full, named, clusterIP="None"), budget(full)]


def _agent(who: list[str]) -> Json:
    options = ["--otlp-port", "4317"] if "--service" in who else []
    where = ["--token-file", "/run/tokens/token", "--control-plane", "control-plane"]
    here = ["--instance", "$(POD_NAME)", "--advertise", "$(POD_IP)"]
    return {
        "name": "agent",
        "image": IMAGE,
        "command": ["mesh", "agent", *who, *options, *here, *where],
        "env": [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")],
        "securityContext": sealed(),
        "volumeMounts": [
            mount("agent", STATE),
            mount("tmp", TMP),
            mount("token", "/run/tokens", read_only=True),
        ],
    }


def _agents_volumes(name: str) -> list[Json]:
    """Its state in memory: the key never reaches a disk."""
    return [
        {"name": "agent", "emptyDir": {"medium": "Memory"}},
        {"name": "tmp", "emptyDir": {}},
        secret_volume("token", f"join-{name}"),
    ]


def _app(name: str, version: str, ports: dict[str, int], health: str) -> Json:
    proxy = "http://127.0.0.1:15001"
    local = "localhost,127.0.0.1,::1"
    env = variables(
        HEALTH_URL=f"http://127.0.0.1:{ports['http']}{health}",
        SERVICE_VERSION=version,
        DATA_DIR=TMP,
        HTTP_PROXY=proxy,
        http_proxy=proxy,
        grpc_proxy=proxy,
        NO_PROXY=local,
        no_proxy=local,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317",
        PORT=str(ports["http"]),
        **{f"PORT_{text.upper()}": str(number) for text, number in ports.items() if text != "http"},
    )
    mounts = [mount("tmp", TMP)]
    if name not in MARKETS:
        url = f"postgresql://exchange@postgres:5432/{name}"
        # The client takes a password file that nobody else may read only; Kubernetes mounts it for the group.
        copied = "umask 077; cp /run/secrets/pgpass/pgpass /tmp/pgpass"
        start = ["sh", "-c", f"{copied}; exec python -m meshwright.services.{name}"]
        env += variables(DATABASE_URL=url, PGPASSFILE=f"{TMP}/pgpass")
        mounts.append(mount("pgpass", "/run/secrets/pgpass", read_only=True))
    else:
        start = ["python", "-m", f"services.{name}"]
    texts = ("python", "-c", WELL)
    return {
        "name": "app",
        "image": IMAGE,
        "command": start,
        "env": [field("INSTANCE", "metadata.name"), *env],
        "startupProbe": command(*texts, periodSeconds=2, timeoutSeconds=5, failureThreshold=60),
        "readinessProbe": command(*texts, periodSeconds=10, timeoutSeconds=5),
        "livenessProbe": command(*texts, periodSeconds=30, timeoutSeconds=10, failureThreshold=6),
        "resources": resources("100m", "128Mi"),
        "securityContext": sealed(),
        "volumeMounts": mounts,
    }


def files() -> dict[str, str]:
    """Every manifest by its file's name."""
    spec = YAML(typ="safe").load(APPLICATION)["spec"]
    entries = [dict(entry) for entry in spec["services"]]
    names = [entry["name"] for entry in entries]
    valueses: dict[str, list[Json]] = {
        "control-plane.yaml": control_plane(),
        "valkey.yaml": valkey(),
        "postgres.yaml": postgres(),
        **{f"{gateway['name']}.yaml": ingress(gateway["name"]) for gateway in spec["gateways"]},
    }
    for entry in entries:
        version = entry.get("labels", {}).get("version", "")
        entry["full"] = f"{entry['name']}-{version}" if names.count(entry["name"]) > 1 else entry["name"]
        valueses[f"{entry['full']}.yaml"] = part(entry)
    namespace = [{"apiVersion": "v1", "kind": "Namespace", "metadata": meta("exchange")}]
    value = {"namespace.yaml": namespace, **valueses}
    return {
        **{name: _text(*parts) for name, parts in value.items()},
        "kustomization.yaml": _text(_top(sorted(value))),
    }


def _top(resources: list[str]) -> Json:
    """What `kubectl apply -k` reads; secrets/ is made by prepare.sh, and in nobody's repository."""
    secrets = {
        "mesh": ["root.pem", "root.key", "tokens.key", "valkey.password", "read.token"],
        "postgres": ["postgres.password"],
        "pgpass": ["pgpass=postgres.pgpass"],
    }
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "exchange",
        "resources": resources,
        "images": [{"name": IMAGE, "newName": IMAGE, "newTag": "0.1.0"}],
        "configMapGenerator": [{"name": "databases", "files": ["databases.sql"]}],
        "secretGenerator": [
            {"name": name, "files": [_secret(text) for text in listed]} for name, listed in secrets.items()
        ],
    }


def _secret(entry: str) -> str:
    key, _, file = entry.rpartition("=")
    return f"{key}=secrets/{file}" if key else f"secrets/{file}"


def _text(*documents: Json) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.representer.ignore_aliases = lambda _value: True
    out = io.StringIO()
    yaml.dump_all(documents, out) if len(documents) > 1 else yaml.dump(documents[0], out)
    return HEAD + out.getvalue()


def main(argv: list[str]) -> int:
    """Write the manifests, or with --check tell which differ."""
    expected: dict[str, str] = files()
    values = {path.name: path.read_text() for path in FOLDER.glob("*.yaml")}
    different = sorted(name for name in {*expected, *values} if expected.get(name) != values.get(name))
    if "--check" in argv:
        for name in different:
            sys.stderr.write(f"deploy/kubernetes/{name} is not what build.py makes: run it again\n")
        return 1 if different else 0
    for name in different:
        if name in expected:
            (FOLDER / name).write_text(expected[name])
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
