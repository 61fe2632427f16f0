#!/bin/sh
# Creates the secrets that kustomization.yaml reads, unless they exist, in deploy/kubernetes/secrets: the root CA, the
# key that signs join tokens, passwords and tokens. Only the user who runs this script can read them. Needs openssl.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets

if [ ! -e root.pem ]; then
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out root.key
    openssl req -x509 -new -key root.key -days 3650 -subj "/CN=mesh.local" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -addext "subjectAltName=URI:spiffe://mesh.local" -out root.pem
fi
[ -e tokens.key ] || openssl rand -out tokens.key 32
for name in valkey.password postgres.password read.token; do
    [ -e "$name" ] || openssl rand -hex 32 >"$name"
done
# The certificate of PostgreSQL, which the services trust and no other.
[ -e postgres.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=postgres \
    -addext "subjectAltName=DNS:postgres" -keyout postgres.key -out postgres.pem 2>/dev/null
[ -e postgres.pgpass ] || printf 'postgres:5432:*:exchange:%s\n' "$(cat postgres.password)" >postgres.pgpass
echo "secrets are in $(pwd): kubectl apply -k $(dirname "$(pwd)")"
