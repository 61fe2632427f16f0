"""Storefront: the backend of the shop's pages."""
