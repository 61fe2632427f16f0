"""Every field of Gateway, ServiceEntry and Telemetry; the names are those of Istio's API, v1."""

from __future__ import annotations

from meshwright.cli.convert.fields import KindFields, below

CLOSING_TLS = {
    "subjectAltNames": "clients' names are not compared; its server is left out",
    "verifyCertificateSpki": "clients' keys are not compared; its server is left out",
    "verifyCertificateHash": "clients' certificates are not compared; its server is left out",
    "caCrl": "revoked certificates are not known; its server is left out",
    "caCertCredentialName": "write frontendValidation; its server is left out",
}
"""Fields that refuse clients: without them more of them would get in."""

GATEWAY = KindFields(
    converted={
        "spec.selector": "the gateway of the Gateway's own name in the application file",
        **below(
            "spec.servers",
            {
                "name": "`listeners.name`, before that of the port",
                "port.name": "`listeners.name`",
                "port.number": "`listeners.port`",
                "port.protocol": "`listeners.protocol`: HTTP, HTTPS, TLS or TCP",
                "hosts": "`listeners.hostname`, without a namespace; a listener for each",
                "tls.mode": "SIMPLE, MUTUAL, OPTIONAL_MUTUAL, PASSTHROUGH; other servers are left out",
                "tls.httpsRedirect": "an HTTPRoute with RequestRedirect; other routes leave its listener out",
                "tls.credentialName": "Certificate; with MUTUAL another one, NAME-cacert",
                "tls.credentialNames": "a Certificate for each",
                "tls.serverCertificate": "Certificate, `certificateFile`",
                "tls.privateKey": "Certificate, `privateKeyFile`",
                "tls.caCertificates": "Certificate, `caFile`",
                "tls.minProtocolVersion": "`tls.options`; 1.2 is the oldest",
            },
        ),
    },
    unsupported=below(
        "spec.servers",
        {
            "bind": "a gateway listens at the address of its node: see `--bind`",
            "defaultEndpoint": "write a route without matches",
            "port.targetPort": "the port is the one that the gateway listens on",
            "tls.tlsCertificates": "write credentialNames",
            "tls.maxProtocolVersion": "the newest version is always spoken",
            "tls.cipherSuites": "Envoy's defaults apply",
            **{f"tls.{name}": reason for name, reason in CLOSING_TLS.items()},
        },
    ),
)

SERVICE_ENTRY = KindFields(
    converted={
        "spec.hosts": "ExternalService, `hosts`",
        "spec.addresses": "`addresses`; without endpoints they lead to the host, if it is one",
        "spec.location": "outside the mesh; inside is named as unsupported",
        "spec.resolution": "`resolution`: static, dns, dns-logical; otherwise as hosts are called",
        "spec.ports.number": "`ports.port`",
        "spec.ports.protocol": "`ports.protocol`: http, grpc, https, tls or tcp",
        "spec.ports.targetPort": "`ports.targetPort`",
        "spec.ports.name": "not carried over: endpoints name ports by it",
        "spec.endpoints.address": "`endpoints.address`",
        "spec.endpoints.ports": "`ports.targetPort`, or `endpoints.port` where they differ",
    },
    unsupported={
        "spec.workloadSelector": "workloads join as services, by `mesh run` or `mesh agent`",
        "spec.exportTo": "a mesh has one namespace: see `from` of ExternalService",
        "spec.subjectAltNames": "see `tls.sni` of ExternalService, or BackendTLSPolicy",
        **below(
            "spec.endpoints",
            {
                "labels": "endpoints outside have no Subsets",
                "network": "endpoints are called at their addresses",
                "locality": "endpoints outside have no locality",
                "weight": "every endpoint gets the same share",
                "serviceAccount": "endpoints outside have no identity of the mesh",
            },
        ),
    },
)

TELEMETRY = KindFields(
    converted={
        "spec.selector.matchLabels": "`targetRefs`: the service of the label `app`; none: the Mesh",
        "spec.targetRefs": "`targetRefs`: a Service or a Gateway",
        "spec.targetRef": "the same",
        "spec.tracing.randomSamplingPercentage": "Telemetry, `sampling`",
        "spec.tracing.disableSpanReporting": "`sampling: 0`",
        "spec.tracing.providers": "ignored: spans go where `MESH_OTLP` says",
        "spec.accessLogging.disabled": "`accessLog: Off`, otherwise All",
        "spec.accessLogging.providers": "ignored: logs are files of the proxies",
        "spec.accessLogging.filter.expression": "`accessLog: Errors` for `response.code >= 500`",
    },
    unsupported={
        "spec.metrics": "metrics are always on and have fixed labels",
        "spec.tracing.match": "the setting is for both directions",
        "spec.tracing.customTags": "spans have the tags of the mesh",
        "spec.tracing.useRequestIdForTraceSampling": "see `sampling`",
        "spec.tracing.enableIstioTags": "spans have the tags of the mesh",
        "spec.accessLogging.match": "the setting is for both directions",
    },
)
