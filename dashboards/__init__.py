"""Grafana's dashboards of a mesh, as code: `python -m dashboards.build` writes the JSON Grafana reads."""
