"""Callers are isolated from each other: attacks by one, bystanders that must not notice."""
