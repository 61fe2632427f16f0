"""ConnectionPool: callers' connections to a service."""
