"""APIKeyAuthentication: only requests with the key of a client get through."""
