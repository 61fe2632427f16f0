"""Envoy's API: native messages (`v3`), their bytes and dictionaries (`codec`), and the schema generator."""
