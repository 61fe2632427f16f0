"""The demo shop: pure parts, and services as real processes without a mesh."""
