#!/bin/sh
# Makes or renews the Secret join-NAME of every service and gateway: the token by which its pods enrol, good for
# thirty days. Pods that run need none; new ones do, so run it every few weeks.
set -eu
in="--namespace exchange"

join() {
    kubectl $in exec deployment/control-plane -- mesh token create "--$1" "$2" --ttl 2592000 --out - |
        kubectl $in create secret generic "join-$2" --from-file=token=/dev/stdin --dry-run=client -o yaml |
        kubectl $in apply -f -
}

for name in catalog inventory orders trading analytics storefront; do join service "$name"; done
join gateway ingress
