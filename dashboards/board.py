"""A dashboard: rows of panels, variables, links to the other dashboards, and marks for policy revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from meshwright.dashboards.parts import METRICS, Panel

TAG = "meshwright"

OVERVIEW, SERVICE, ROUTES, VERSIONS, RESILIENCE, TCP, SIDECARS, CONTROL_PLANE, SECURITY, APPS, EXCHANGE = (
    *("mesh-overview", "mesh-service", "mesh-routes", "mesh-versions", "mesh-resilience", "mesh-tcp"),
    *("mesh-sidecars", "mesh-control-plane", "mesh-security", "mesh-apps", "mesh-exchange"),
)
"""The uids, which links use."""

REVISIONS = 'count_values("revision", max(mesh_revision))'
"""A series with the newest revision as a label."""


@dataclass(frozen=True, slots=True)
class Section:
    """A row of panels with a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. `variables` follow the variable for the data source."""

    uid: str
    title: str
    description: str
    sections: Sequence[Section]
    variables: Sequence[Builder[models.VariableModel]] = ()
    links: Sequence[dashboard.DashboardLink] = ()

    def build(self) -> models.Dashboard:
        """The model that Grafana reads. Panels are numbered in order."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .time("now-30m", "now")
            .refresh("10s")
            .timepicker(dashboard.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m"]))
            .annotation(RevisionAnnotation())
            .link(_other_dashboards_link())
        )
        for dashboard_link in self.links:
            board = board.link(dashboard_link)
        for variable in (datasource_variable("datasource", "Prometheus", "prometheus"), *self.variables):
            board = board.with_variable(variable)
        for section in self.sections:
            board = board.with_row(dashboard.Row(section.title))
            for panel in section.panels:
                board = board.with_panel(panel)
        built = board.build()
        for number, current_panel in enumerate(built.panels or [], 1):
            current_panel.id_val = number
        return built


class _PrometheusAnnotation(models.AnnotationQuery):
    """An annotation with the extra fields of Grafana's Prometheus data source."""

    def __init__(self, name: str, description: str, query: dict[str, object], title: str) -> None:
        super().__init__(name=name, datasource=METRICS, icon_color="purple")
        self._query = query
        self._words = description
        self._title = title

    def to_json(self) -> dict[str, object]:
        """The model with the query and the formats of title and text."""
        values = {key: value for key, value in super().to_json().items() if key != "builtIn"}
        return {**values, "target": self._query, "titleFormat": self._title, "textFormat": self._words}


class RevisionAnnotation(Builder[models.AnnotationQuery]):
    """A mark at each new revision of the policies."""

    def build(self) -> models.AnnotationQuery:
        """The newest revision, unless it was also the newest one step earlier."""
        before = REVISIONS.replace("mesh_revision", "mesh_revision offset $__interval")
        query: dict[str, object] = {
            "datasource": METRICS,
            "expr": f"{REVISIONS} unless {before}",
            "interval": "10s",
            "range": True,
            "refId": "Revisions",
        }
        return _PrometheusAnnotation("Revisions", "Policies changed", query, "Revision {{revision}}")


def datasource_variable(name: str, label: str, kind: str, regex: str = "") -> dashboard.DatasourceVariable:
    """A variable to choose a data source of one type."""
    datasource_variable = dashboard.DatasourceVariable(name).label(label).type(kind)
    return datasource_variable.regex(regex) if regex else datasource_variable


def traces_variable() -> dashboard.DatasourceVariable:
    """A variable to choose where traces come from: Jaeger, or the mesh itself."""
    return datasource_variable("traces", "Traces", "jaeger")


def query_variable(name: str, label: str, query: str, *, many: bool = True) -> dashboard.QueryVariable:
    """A variable with values from Prometheus. `many` allows several or all, as a regular expression."""
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


def dashboard_url(uid: str, **variables: str) -> str:
    """The URL of a dashboard with its variables set and the same time range."""
    text = "".join(f"var-{name}={value}&" for name, value in variables.items())
    return f"/d/{uid}?{text}${{__url_time_range}}"


def explore_traces_link(service: str) -> dashboard.DashboardLink:
    """A dashboard link to the traces of a service."""
    pane = (
        '{"a":{"datasource":"${traces}","queries":[{"refId":"A","queryType":"search","service":"'
        f'{service}","limit":50}}],"range":{{"from":"$__from","to":"$__to"}}}}}}'
    )
    panes = quote(pane, safe="${}[]:,_")
    return (
        dashboard.DashboardLink("Traces")
        .type(models.DashboardLinkType.LINK)
        .icon("external link")
        .tooltip("Search this service's traces")
        .url(f"/explore?schemaVersion=1&orgId=1&panes={panes}")
    )


def _other_dashboards_link() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Mesh")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .tooltip("Other dashboards of the mesh")
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
