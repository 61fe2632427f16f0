"""Catalog: the products that the exchange offers."""
