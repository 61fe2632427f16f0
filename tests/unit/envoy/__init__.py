"""Tests of control_plane.envoy."""
