"""Changes what a running mesh on this host runs, without losing a request."""
