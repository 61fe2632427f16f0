"""Consul's config entries as policies of ours."""
