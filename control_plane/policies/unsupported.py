"""Fields and values of the Gateway API that the mesh does not implement, and what to use instead.

They are refused: a document that seems to work and does not is worse than one that is refused.
"""

from __future__ import annotations

FIELDS = {
    "sessionPersistence": "a LoadBalancer with hashOn.cookie keeps a client at one instance",
    "extensionRef": "attach a policy to the rule by its name (sectionName)",
    "externalAuth": "authenticate in the app, or in a proxy before the gateway",
    "useDefaultGateways": "name the gateways in parentRefs",
    "defaultScope": "routes name the gateway in parentRefs",
    "backendTLS": "gateways and sidecars use the mesh's own mutual TLS",
}

VALUES = {
    "ExtensionRef": FIELDS["extensionRef"],
    "ExternalAuth": FIELDS["externalAuth"],
    "ListenerSet": "write the listeners in the Gateway",
    "ServiceImport": "all services of a mesh are of kind Service",
}
