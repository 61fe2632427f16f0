#!/bin/sh
# Creates or renews the Secret join-NAME of each service and gateway: the token that its pods enrol with, valid for
# thirty days. Running pods do not need it, but new pods do, so run this script every few weeks.
set -eu
in="--namespace exchange"

join() {
    kubectl $in exec deployment/control-plane -- mesh token create "--$1" "$2" --ttl 2592000 --out - |
        kubectl $in create secret generic "join-$2" --from-file=token=/dev/stdin --dry-run=client -o yaml |
        kubectl $in apply -f -
}

for name in catalog inventory orders trading analytics storefront; do join service "$name"; done
join gateway ingress
