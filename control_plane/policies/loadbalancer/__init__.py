"""LoadBalancer: which instance gets a request."""
