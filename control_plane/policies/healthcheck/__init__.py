"""HealthCheck: callers' sidecars ask instances how they are."""
