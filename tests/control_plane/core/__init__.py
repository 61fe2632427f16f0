"""Tests of the pure core: worlds in, resources out."""
