"""What all services share: HTTP with its contract, health, metrics, traces, logs, database.

A service is a `ServiceDefinition`: its tables and a function that turns a `Runtime` (settings, database,
client) into `Operation`s. `server.run` does the rest.
"""
