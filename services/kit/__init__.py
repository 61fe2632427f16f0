"""What every service of the exchange shares: HTTP with its contract, health, metrics, traces, logs, data.

A service is an `Assembly`: its tables and a function that turns a `Runtime` (settings, database, client) into
`Operation`s. `server.run` does the rest.
"""
