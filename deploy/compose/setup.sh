#!/bin/sh
# Runs beside the first control plane: applies the policies to a mesh that has none, then keeps a fresh join token
# for each of $SERVICES and $GATEWAYS in /run/tokens/NAME/token. Tokens live two days and are made twice a day.
set -eu
umask 077
trap 'exit 0' TERM INT

# 6: somebody applied before, so the policies are theirs.
mesh apply -f /policies --base 0 -m "first start" || [ $? -eq 6 ]

token() {
    mkdir -p "/run/tokens/$2"
    mesh token create "--$1" "$2" --ttl 172800 --out "/run/tokens/$2/token"
}

while :; do
    for name in $SERVICES; do token service "$name"; done
    for name in $GATEWAYS; do token gateway "$name"; done
    touch /run/tokens/ready
    sleep 43200 &
    wait $!
done
