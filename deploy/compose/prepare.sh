#!/bin/sh
# Creates what docker-compose.yml needs, unless it exists: the root CA, the key that signs join tokens, passwords,
# tokens, and data folders. Only the user who runs this script can read them; by .env, containers run as that user.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets data/valkey data/prometheus data/alertmanager data/grafana
cd secrets

if [ ! -e root.pem ]; then
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out root.key
    openssl req -x509 -new -key root.key -days 3650 -subj "/CN=mesh.local" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -addext "subjectAltName=URI:spiffe://mesh.local" -out root.pem
fi
[ -e tokens.key ] || openssl rand -out tokens.key 32
for name in valkey.password postgres.password grafana.password prometheus.token read.token; do
    [ -e "$name" ] || openssl rand -hex 32 >"$name"
done
[ -e postgres.pgpass ] || printf 'postgres:5432:*:exchange:%s\n' "$(cat postgres.password)" >postgres.pgpass

env=../../../.env
if ! grep -qs '^MESH_UID=' "$env"; then
    printf 'MESH_UID=%s\nMESH_GID=%s\n' "$(id -u)" "$(id -g)" >>"$env"
fi
echo "secrets are in $(pwd): docker compose up --build"
