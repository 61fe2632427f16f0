#!/bin/sh
# Runs beside the control planes. Applies the policies to a mesh without any, then writes a join token for each of
# $SERVICES and $GATEWAYS to /tokens/NAME/token. Tokens are valid for two days and renewed twice a day.
set -eu
umask 077
trap 'exit 0' TERM INT

# 6: the mesh already has policies, which stay as they are.
mesh apply -f /policies --expect-revision 0 -m "first start" || [ $? -eq 6 ]

while :; do
    for name in $SERVICES; do mesh token create --service "$name" --ttl 48h --out "/tokens/$name/token"; done
    for name in $GATEWAYS; do mesh token create --gateway "$name" --ttl 48h --out "/tokens/$name/token"; done
    touch /tmp/ready
    sleep 43200 &
    wait $!
done
