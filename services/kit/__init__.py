"""What a service is written with.

A service is a `ServiceDefinition` (service.py): its tables, and a function that turns a `Runtime` (settings,
database, client) into `Operation`s (operations.py). Read these two first, then client.py for calls of other
services and database.py for its own data. `services/hosting` runs it.
"""
