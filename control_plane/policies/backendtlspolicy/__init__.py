"""BackendTLSPolicy: TLS to a host outside the mesh, as the Gateway API writes it."""
