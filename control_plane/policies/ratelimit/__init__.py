"""RateLimit: how many requests a gateway, a route or a service takes."""
