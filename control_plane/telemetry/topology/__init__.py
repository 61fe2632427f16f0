"""The service graph: traffic, health and history of services and edges, from metrics of sidecars. Pure."""
