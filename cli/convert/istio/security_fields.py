"""Every field of the security kinds that are read; the names are those of Istio's API, security/v1."""

from __future__ import annotations

from meshwright.cli.convert.fields import KindFields, below

SOURCES_LOST = {
    "namespaces": "a mesh has one namespace",
    "notNamespaces": "a mesh has one namespace",
    "notRequestPrincipals": "see `require: any` of JWTAuthentication",
}
"""Fields of Source that no caller has."""

OPERATIONS_LOST = {
    "ports": "ports have names here: write `ports` of Authorization",
    "notPorts": "ports have names here: write `notPorts` of Authorization",
}
"""Fields of Operation that no request has."""

_TARGETS = {
    "spec.selector.matchLabels": "`targetRefs`: the service of the label `app`; none: the Mesh",
    "spec.targetRefs": "`targetRefs`: a Service or a Gateway",
    "spec.targetRef": "the same",
}
_ACCOUNTS = "the service of a service account's name"
_RULE = "spec.rules"

AUTHORIZATION_POLICY = KindFields(
    converted={
        **_TARGETS,
        "spec.action": "`rules.action`; CUSTOM is named as unsupported, and refuses",
        **below(
            f"{_RULE}.from.source",
            {
                "principals": f"`from.services`: {_ACCOUNTS}",
                "notPrincipals": f"`from.notServices`: {_ACCOUNTS}",
                "serviceAccounts": f"`from.services`: {_ACCOUNTS}",
                "notServiceAccounts": f"`from.notServices`: {_ACCOUNTS}",
                "requestPrincipals": "`from.claims`: `sub` with its issuer; ISSUER/* and *: `iss`",
                "ipBlocks": "`from.addresses`, at a service",
                "notIpBlocks": "`from.notAddresses`, at a service",
                "remoteIpBlocks": "`from.addresses`, at a gateway",
                "notRemoteIpBlocks": "`from.notAddresses`, at a gateway",
            },
        ),
        **below(
            f"{_RULE}.to.operation",
            {
                "hosts": "`to.hosts`; whole, or with `*.` before",
                "notHosts": "`to.notHosts`",
                "methods": "`to.methods`",
                "notMethods": "`to.notMethods`",
                "paths": "`to.paths`; /a/* is the Template /a/**, /a* (allowed) whole segments",
                "notPaths": "`to.notPaths`",
            },
        ),
        f"{_RULE}.when.key": "`request.headers[]`: `to.headers`; claims, audiences and presenter: "
        "`from.claims`; source.ip, remote.ip and source.principal: `from`; others are named as unsupported",
        f"{_RULE}.when.values": "the values of that",
    },
    unsupported={
        **below(f"{_RULE}.from.source", SOURCES_LOST),
        **below(f"{_RULE}.to.operation", OPERATIONS_LOST),
        f"{_RULE}.when.notValues": "no condition here has exceptions",
        "spec.provider": "see ExternalAuthorization",
    },
)

REQUEST_AUTHENTICATION = KindFields(
    converted={
        **_TARGETS,
        **below(
            "spec.jwtRules",
            {
                "issuer": "JWTAuthentication, `issuers.issuer`, with `require: none-but-verify`",
                "audiences": "`issuers.audiences`",
                "jwksUri": "`issuers.jwks.url`",
                "jwks": "`issuers.jwks.inline`",
                "fromHeaders": "`issuers.token.header` and `prefix`; of several places the first",
                "fromParams": "`issuers.token.query`, if it is the first place",
                "fromCookies": "`issuers.token.cookie`, if it is the first place",
                "forwardOriginalToken": "`issuers.forwardToken`; only a header can be removed",
                "outputClaimToHeaders": "`claimHeaders`",
            },
        ),
    },
    unsupported=below(
        "spec.jwtRules",
        {
            "outputPayloadToHeader": "single claims become headers: see `claimHeaders`",
            "timeout": "keys are fetched before they are needed",
            "spaceDelimitedClaims": "only `scope` and `scp` are split into words",
        },
    ),
)

PEER_AUTHENTICATION = KindFields(
    converted={
        "spec.selector.matchLabels": _TARGETS["spec.selector.matchLabels"],
        "spec.mtls.mode": "MutualTLS, `mode`; the strictest one counts",
    },
    unsupported={"spec.portLevelMtls": "a mode is for all ports of a service"},
)
