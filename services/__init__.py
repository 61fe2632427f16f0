"""The demo shop: small services with real data that give the mesh real calls to carry.

They know each other by name only (`http://inventory/...`). They import neither the mesh nor each other. They
are written with `kit` and run by `hosting`; `events`, `rpc` and `quotes` are what they exchange.
"""
