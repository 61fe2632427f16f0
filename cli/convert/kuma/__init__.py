"""Kuma's documents as ours: values in, documents and remarks out; pure."""
