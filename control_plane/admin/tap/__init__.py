"""Live requests of a service, while somebody looks."""
