"""Envoy's API: native messages (`v3`), their bytes and dictionary form (`codec`), and how both are generated."""
