"""Tests of meshwright.control_plane.envoy."""
