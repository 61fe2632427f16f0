"""The sidecar agent: runs Envoy beside each app, and keeps both registered, healthy and up to date."""
