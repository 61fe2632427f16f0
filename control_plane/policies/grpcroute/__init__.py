"""GRPCRoute: where a gRPC call goes, by service, method and metadata."""
