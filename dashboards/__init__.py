"""Grafana's dashboards of a mesh, as code: `python -m meshwright.dashboards.build` writes the JSON Grafana reads."""
