#!/bin/sh
# Runs next to the first control plane. Applies the policies to a mesh without any, then writes a join token for
# each of $SERVICES and $GATEWAYS to /run/tokens/NAME/token. Tokens are valid for two days and renewed twice a day.
set -eu
umask 077
trap 'exit 0' TERM INT

# 6: the mesh already has policies, which stay as they are.
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
