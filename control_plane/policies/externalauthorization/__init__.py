"""ExternalAuthorization: a service of your own decides which requests are let in."""
