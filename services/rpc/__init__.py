"""gRPC between services: a server beside the HTTP API, and the messages."""
