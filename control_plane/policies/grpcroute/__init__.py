"""GRPCRoute: routes gRPC calls by service, method and metadata."""
