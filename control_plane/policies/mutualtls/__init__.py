"""MutualTLS: whether a service accepts plaintext."""
