"""MutualTLS: whether plaintext is let in."""
