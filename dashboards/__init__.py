"""Grafana dashboards as code. `python -m meshwright.dashboards.build` writes the JSON."""
