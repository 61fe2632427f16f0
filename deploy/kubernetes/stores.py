"""The stores that others provide: the mesh's Valkey, and PostgreSQL for the services."""

from __future__ import annotations

from meshwright.deploy.kubernetes.parts import (
    SECRETS,
    TMP,
    Json,
    disruption_budget,
    env_vars,
    exec_probe,
    hardened,
    pod_template,
    resources,
    secret_volume,
    service,
    stateful_set,
    volume_mount,
)


def valkey() -> list[Json]:
    """The store. Its password goes to standard input, so no argument or variable contains it."""
    options = ("appendonly yes", "appendfsync always", "dir /data", "END")
    password = f"requirepass $(cat {SECRETS}/valkey.password)"
    configure = "\n".join(("exec valkey-server - <<END", password, *options))
    ping = f'REDISCLI_AUTH="$(cat {SECRETS}/valkey.password)" valkey-cli ping | grep -q PONG'
    container = {
        "name": "valkey",
        "image": "valkey/valkey:8.1",
        "command": ["sh", "-c", configure],
        "ports": [{"name": "valkey", "containerPort": 6379}],
        "startupProbe": exec_probe("sh", "-c", ping, periodSeconds=1, failureThreshold=60),
        "readinessProbe": exec_probe("sh", "-c", ping, periodSeconds=10),
        "livenessProbe": exec_probe("sh", "-c", ping, periodSeconds=30, failureThreshold=6),
        "resources": resources("100m", "128Mi"),
        "securityContext": hardened(),
        "volumeMounts": [volume_mount("data", "/data"), volume_mount("secrets", SECRETS, read_only=True)],
    }
    spec = {"containers": [container], "volumes": [secret_volume("secrets", "mesh")]}
    template = pod_template("valkey", spec, user=999)
    return [
        stateful_set("valkey", template, "2Gi"),
        service("valkey", {"valkey": 6379}),
        disruption_budget("valkey"),
    ]


def postgres() -> list[Json]:
    """The databases of the services."""
    # By TCP, as clients do: the temporary server of the first start listens on its socket only.
    check = ("pg_isready", "--host", "127.0.0.1", "--username", "exchange", "--dbname", "analytics")
    container = {
        "name": "postgres",
        "image": "postgres:17",
        "args": [
            *("-c", "ssl=on"),
            *("-c", f"ssl_cert_file={SECRETS}/postgres.pem"),
            *("-c", f"ssl_key_file={SECRETS}/postgres.key"),
        ],
        "env": env_vars(
            POSTGRES_USER="exchange",
            POSTGRES_PASSWORD_FILE=f"{SECRETS}/postgres.password",
            PGDATA="/var/lib/postgresql/data/pgdata",
        ),
        "ports": [{"name": "postgres", "containerPort": 5432}],
        "startupProbe": exec_probe(*check, periodSeconds=1, failureThreshold=300),
        "readinessProbe": exec_probe(*check, periodSeconds=10),
        "livenessProbe": exec_probe(*check, periodSeconds=30, failureThreshold=6),
        "resources": resources("250m", "256Mi"),
        "securityContext": hardened(),
        "volumeMounts": [
            volume_mount("data", "/var/lib/postgresql/data"),
            volume_mount("run", "/var/run/postgresql"),
            volume_mount("tmp", TMP),
            volume_mount("databases", "/docker-entrypoint-initdb.d", read_only=True),
            volume_mount("secrets", SECRETS, read_only=True),
        ],
    }
    volumes = [
        {"name": "run", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "databases", "configMap": {"name": "databases"}},
        secret_volume("secrets", "postgres"),
    ]
    spec = {"containers": [container], "volumes": volumes}
    template = pod_template("postgres", spec, user=999)
    return [
        stateful_set("postgres", template, "10Gi"),
        service("postgres", {"postgres": 5432}),
        disruption_budget("postgres"),
    ]
