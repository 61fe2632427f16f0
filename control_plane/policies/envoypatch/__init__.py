"""EnvoyPatch: changes to Envoy's configuration that no other kind makes."""
