"""JWTAuthentication: only requests with a valid token get through."""
