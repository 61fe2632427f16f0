"""Compression: gateways compress responses for clients that accept it."""
