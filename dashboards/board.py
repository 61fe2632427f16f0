"""A whole dashboard: its rows of panels, variables, links to the others, and when policies were changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from meshwright.dashboards.parts import METRICS, Panel

TAG = "meshwright"

OVERVIEW, SERVICE, RESILIENCE, SIDECARS, CONTROL_PLANE, SECURITY, APPS = (
    *("mesh-overview", "mesh-service", "mesh-resilience", "mesh-sidecars"),
    *("mesh-control-plane", "mesh-security", "mesh-apps"),
)
"""The uids, which links name."""

REVISIONS = 'count_values("revision", max(mesh_revision))'
"""A series whose label is the newest revision."""


@dataclass(frozen=True, slots=True)
class Section:
    """A row of panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. `variables` come after that of the data source."""

    uid: str
    title: str
    words: str
    sections: Sequence[Section]
    variables: Sequence[Builder[models.VariableModel]] = ()
    links: Sequence[dashboard.DashboardLink] = ()

    def build(self) -> models.Dashboard:
        """As Grafana reads it; panels are numbered as they stand."""
        link = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.words)
            .tags([TAG])
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .time("now-30m", "now")
            .refresh("10s")
            .timepicker(dashboard.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m"]))
            .annotation(Revisions())
            .link(_others())
        )
        for dashboard_link in self.links:
            link = link.link(dashboard_link)
        for variable in (source("datasource", "Prometheus", "prometheus"), *self.variables):
            link = link.with_variable(variable)
        for section in self.sections:
            link = link.with_row(dashboard.Row(section.title))
            for panel in section.panels:
                link = link.with_panel(panel)
        built = link.build()
        for number, current_panel in enumerate(built.panels or [], 1):
            current_panel.id_val = number
        return built


class _FromPrometheus(models.AnnotationQuery):
    """An annotation with the fields that Grafana's Prometheus data source adds to it."""

    def __init__(self, name: str, words: str, query: dict[str, object], title: str) -> None:
        super().__init__(name=name, datasource=METRICS, icon_color="purple")
        self._query = query
        self._words = words
        self._title = title

    def to_json(self) -> dict[str, object]:
        """With the query, and how its answers are told."""
        values = {key: value for key, value in super().to_json().items() if key != "builtIn"}
        return {**values, "target": self._query, "titleFormat": self._title, "textFormat": self._words}


class Revisions(Builder[models.AnnotationQuery]):
    """A mark wherever another revision of the policies came into force."""

    def build(self) -> models.AnnotationQuery:
        """The newest revision, where it is none that was the newest one step before."""
        before = REVISIONS.replace("mesh_revision", "mesh_revision offset $__interval")
        query: dict[str, object] = {
            "datasource": METRICS,
            "expr": f"{REVISIONS} unless {before}",
            "interval": "10s",
            "range": True,
            "refId": "Revisions",
        }
        return _FromPrometheus("Revisions", "policies were changed", query, "Revision {{revision}}")


def source(name: str, label: str, kind: str, regex: str = "") -> dashboard.DatasourceVariable:
    """The choice of a data source of a kind."""
    datasource_variable = dashboard.DatasourceVariable(name).label(label).type(kind)
    return datasource_variable.regex(regex) if regex else datasource_variable


def traces() -> dashboard.DatasourceVariable:
    """The choice of where traces are: Jaeger, or the mesh's own."""
    return source("traces", "Traces", "jaeger")


def chosen(name: str, label: str, query: str, *, many: bool = True) -> dashboard.QueryVariable:
    """A variable with what Prometheus knows; `many`: several or all of it, as a regular expression."""
    query_variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(METRICS)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(many)
        .include_all(many)
    )
    if not many:
        return query_variable
    return query_variable.all_value(".*").current(
        models.VariableOption(selected=True, text="All", value="$__all")
    )


def to(uid: str, **variables: str) -> str:
    """Where a dashboard is, with its variables set and the time kept."""
    text = "".join(f"var-{name}={value}&" for name, value in variables.items())
    return f"/d/{uid}?{text}${{__url_time_range}}"


def explore_traces(service: str) -> dashboard.DashboardLink:
    """A link of the dashboard to the traces of a service."""
    pane = (
        '{"a":{"datasource":"${traces}","queries":[{"refId":"A","queryType":"search","service":"'
        f'{service}","limit":50}}],"range":{{"from":"$__from","to":"$__to"}}}}}}'
    )
    panes = quote(pane, safe="${}[]:,_")
    return (
        dashboard.DashboardLink("Traces")
        .type(models.DashboardLinkType.LINK)
        .icon("external link")
        .tooltip("Search the traces of this service")
        .url(f"/explore?schemaVersion=1&orgId=1&panes={panes}")
    )


def _others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Mesh")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .tooltip("The other dashboards of the mesh")
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
