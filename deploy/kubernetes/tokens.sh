#!/bin/sh
# Creates or renews the Secret join-NAME of each service and gateway: the token that its pods enrol with, valid for
# thirty days. Running pods do not need it, but new pods do, so run this script every few weeks.
set -eu
in="--namespace exchange"

join() {
    # Not in a pipeline, where a failure would go unnoticed and an empty token be stored.
    token=$(kubectl $in exec deployment/control-plane -- mesh token create "--$1" "$2" --ttl 30d --out -)
    [ -n "$token" ] || { echo "no token for $2: nothing is stored" >&2; exit 1; }
    secret=$(printf '%s\n' "$token" |
        kubectl $in create secret generic "join-$2" --from-file=token=/dev/stdin --dry-run=client -o yaml)
    printf '%s\n' "$secret" | kubectl $in apply -f -
}

kubectl $in rollout status deployment/control-plane --timeout 5m
for name in broker catalog inventory orders payments legacy trading analytics storefront mobile users nfts notifications inbox; do join service "$name"; done
join gateway ingress
