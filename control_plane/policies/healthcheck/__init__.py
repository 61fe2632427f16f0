"""HealthCheck: callers' sidecars probe instances."""
