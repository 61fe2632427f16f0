"""Every field of Service (v1), Ingress and IngressClass (networking.k8s.io/v1)."""

from __future__ import annotations

from meshwright.cli.convert.fields import KindFields, below

_ADDRESSES = "ignored: callers name a service, and no addresses"
_OUTSIDE = "a service is reached from outside by a Gateway and a route"

SERVICE = KindFields(
    converted={
        "spec.ports.name": "`services.ports.name` of the application file",
        "spec.ports.port": "`services.ports.number`, the port that callers use",
        "spec.ports.targetPort": "`services.ports.port`, the app's; a name: a free port, passed as PORT",
        "spec.ports.appProtocol": "`services.ports.protocol`: http, grpc or tcp",
        "spec.ports.protocol": "TCP; ports of UDP and SCTP are named as unsupported",
        "spec.selector": "`services.command` has to be written: instances are processes",
        "spec.type": "ClusterIP, ExternalName; NodePort and LoadBalancer are named as unsupported",
        "spec.externalName": "ExternalService, `hosts`; callers use this name",
        "spec.clusterIP": _ADDRESSES,
        "spec.clusterIPs": _ADDRESSES,
        "spec.ipFamilies": _ADDRESSES,
        "spec.ipFamilyPolicy": _ADDRESSES,
        "spec.sessionAffinity": "None; ClientIP is named as unsupported",
        "spec.internalTrafficPolicy": "Cluster; Local is named as unsupported",
        "spec.trafficDistribution": "LoadBalancer, `locality`; PreferSameNode is named as unsupported",
    },
    unsupported={
        "spec.ports.nodePort": _OUTSIDE,
        "spec.externalIPs": _OUTSIDE,
        "spec.loadBalancerIP": _OUTSIDE,
        "spec.loadBalancerClass": _OUTSIDE,
        "spec.loadBalancerSourceRanges": "see `addresses` of an Authorization for the gateway",
        "spec.allocateLoadBalancerNodePorts": _OUTSIDE,
        "spec.externalTrafficPolicy": _OUTSIDE,
        "spec.healthCheckNodePort": _OUTSIDE,
        "spec.publishNotReadyAddresses": "see LoadBalancer, `allUnhealthy`",
        "spec.sessionAffinityConfig": "see LoadBalancer, `hashOn.cookie.ttl`",
    },
)

INGRESS = KindFields(
    converted={
        "spec.ingressClassName": "the Gateway of this name, which all Ingresses of the class share",
        "spec.rules.host": "HTTPRoute, `hostnames`; without one every host",
        "spec.rules.http.paths.path": "`matches.path`",
        "spec.rules.http.paths.pathType": "Exact, PathPrefix; ImplementationSpecific as a prefix",
        "spec.rules.http.paths.backend.service.name": "`backendRefs.name`",
        "spec.rules.http.paths.backend.service.port.number": "`backendRefs.port`",
        "spec.rules.http.paths.backend.service.port.name": "`backendRefs.port`: its number in the Service",
        "spec.defaultBackend.service.name": "an HTTPRoute for every host and path that no other has",
        "spec.defaultBackend.service.port.number": "its `backendRefs.port`",
        "spec.defaultBackend.service.port.name": "its `backendRefs.port`: the number in the Service",
        "spec.tls.hosts": "a listener for HTTPS for each host; without any for every host",
        "spec.tls.secretName": "Certificate, the same name",
    },
    unsupported={
        "metadata.annotations": "what they say to a controller has to be written as policies",
        "spec.rules.http.paths.backend.resource": "requests go to services: its rule answers 500",
        "spec.defaultBackend.resource": "requests go to services",
    },
)

INGRESS_CLASS = KindFields(
    converted={
        "metadata.annotations": '`is-default-class: "true"`: the class of Ingresses that name none',
        "spec.controller": "ignored: gateways of the mesh serve every class",
    },
    unsupported=below("spec", {"parameters": "see `gateways` of the application file"}),
)
