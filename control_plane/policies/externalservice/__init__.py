"""ExternalService: hosts outside the mesh, by name, with their ports, TLS and policies."""
