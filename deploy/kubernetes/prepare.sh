#!/bin/sh
# Creates the secrets that kustomization.yaml reads, unless they exist, in deploy/kubernetes/secrets.
set -eu
cd "$(dirname "$0")"
umask 077
../compose/prepare.sh >/dev/null
mkdir -p secrets
for name in root.pem root.key tokens.key valkey.password read.token postgres.password postgres.pgpass; do
    [ -e "secrets/$name" ] || cp "../compose/secrets/$name" "secrets/$name"
done
echo "secrets are in $(pwd)/secrets: kubectl apply -k $(pwd)"
