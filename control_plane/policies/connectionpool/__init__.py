"""ConnectionPool: how callers' sidecars connect."""
