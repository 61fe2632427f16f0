"""The exchange: small services with real data that give the mesh real calls to carry.

They know each other by name only (`http://inventory/...`) and import neither the mesh nor each other;
`meshwright.services.kit` is all they share.
"""
