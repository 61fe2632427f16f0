"""The parts of every dashboard: queries, panels, tables, thresholds and links.

Every panel has a title, a description, a unit and a data source. Data sources are variables, so any Grafana
can import a dashboard unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmaps

Panel = Builder[models.Panel]
T = TypeVar("T")

METRICS = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
TRACES = models.DataSourceRef(type_val="jaeger", uid="${traces}")

GOOD, WARN, BAD, NEUTRAL = "green", "orange", "red", "blue"
Thresholds = Sequence[tuple[float | None, str]]
NO_THRESHOLDS: Thresholds = ((None, NEUTRAL),)
"""No colour: for values that are neither good nor bad. A threshold is a lower bound and a colour."""
SUCCESS: Thresholds = ((None, BAD), (0.99, WARN), (0.995, GOOD))
"""The objective of dashboards/rules/alerts.yml is 99.5 %."""
LATENCY: Thresholds = ((None, GOOD), (500, WARN), (1000, BAD))
"""Milliseconds. alerts.yml alerts at 1000."""
ZERO_IS_GOOD: Thresholds = ((None, GOOD), (1, BAD))
ANY_RATE_IS_BAD: Thresholds = ((None, GOOD), (1e-9, BAD))
"""For rates."""


HEALTH_COLOURS = {"healthy": GOOD, "draining": NEUTRAL, "unhealthy": BAD}
PROXY_COLOURS = {"synced": GOOD, "pending": WARN, "rejected": BAD, "disconnected": NEUTRAL}
CLASS_COLOURS = {"1xx": NEUTRAL, "2xx": GOOD, "3xx": NEUTRAL, "4xx": WARN, "5xx": BAD}
"""Colours by the names of series. All others get theirs by their order: green would be `draining`."""


def query(expr: str, legend: str = "", ref: str = "", *, now: bool = False) -> prometheus.Dataquery:
    """A query over the time range, or with `now` an instant query: one value per series, as a table."""
    dataquery = prometheus.Dataquery().expr(expr).legend_format(legend).datasource(METRICS)
    if ref:
        dataquery = dataquery.ref_id(ref)
    return dataquery.instant().format("table") if now else dataquery.range()  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class TimeSeriesPanel(Panel):
    """A time series panel. `queries` are pairs of PromQL and legend."""

    title: str
    description: str
    unit: str
    queries: Sequence[tuple[str, str]]
    limits: Thresholds = NO_THRESHOLDS
    width: int = 12
    stacked: bool = False
    max_value: float | None = None
    links: Sequence[tuple[str, str]] = ()
    colours: Mapping[str, str] = field(default_factory=dict)

    def build(self) -> models.Panel:
        """The panel, with a letter as the id of each query."""
        panel = (
            timeseries.Panel()
            .title(self.title)
            .description(self.description)
            .datasource(METRICS)
            .unit(self.unit)
            .min(0)
            .span(self.width)
            .height(8)
            .fill_opacity(30 if self.stacked else 8)
            .line_width(1.5)
            .show_points(commons.VisibilityMode.NEVER)
            .span_nulls(60_000)
            .legend(_legend())
            .tooltip(common.VizTooltipOptions().mode(commons.TooltipDisplayMode.MULTI).sort(_LARGEST))
            .thresholds(thresholds(self.limits))
            .targets([query(expr, legend, letter) for letter, (expr, legend) in _with_letters(self.queries)])
        )
        if self.stacked:
            panel = panel.stacking(common.StackingConfig().mode(commons.StackingMode.NORMAL).group("A"))
        if self.max_value is not None:
            panel = panel.max(self.max_value)
        if self.limits is not NO_THRESHOLDS:
            panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(_DASHED))
        for name, colour in self.colours.items():
            fixed = {"mode": "fixed", "fixedColor": colour}
            panel = panel.override_by_name(name, [models.DynamicConfigValue("color", fixed)])
        return panel.data_links([link(name, url) for name, url in self.links]).build()


@dataclass(frozen=True, slots=True)
class HeatmapPanel(Panel):
    """The distribution of a histogram over time. `expr` has the count of each bucket, by `le`."""

    title: str
    description: str
    unit: str
    expr: str
    width: int = 12

    def build(self) -> models.Panel:
        """The panel: Grafana makes rows of the cumulative buckets, by their upper bounds."""
        buckets = query(self.expr, "{{le}}", "A").format("heatmap")  # type: ignore[arg-type]
        return (
            heatmap.Panel()
            .title(self.title)
            .description(self.description)
            .datasource(METRICS)
            .unit(self.unit)
            .span(self.width)
            .height(8)
            .calculate(False)
            .color(heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME))
            .y_axis(heatmap.YAxisConfig().unit(self.unit))
            .cell_values(heatmap.CellValues().unit("short"))
            .show_y_histogram()
            .with_target(buckets)
            .build()
        )


@dataclass(frozen=True, slots=True)
class StatPanel(Panel):
    """A panel with one number and a graph of it in the background."""

    title: str
    description: str
    unit: str
    expr: str
    limits: Thresholds = NO_THRESHOLDS
    width: int = 4
    legend: str = ""
    decimals: float | None = None

    def build(self) -> models.Panel:
        """The panel: the last value, coloured by thresholds."""
        panel = (
            stat.Panel()
            .title(self.title)
            .description(self.description)
            .datasource(METRICS)
            .unit(self.unit)
            .span(self.width)
            .height(4)
            .no_value("-")
            .thresholds(thresholds(self.limits))
            .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
            .graph_mode(commons.BigValueGraphMode.AREA)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .with_target(query(self.expr, self.legend, "A"))
        )
        return (panel if self.decimals is None else panel.decimals(self.decimals)).build()


@dataclass(frozen=True, slots=True)
class PanelColumn:
    """A column of a table: PromQL, unit and thresholds."""

    name: str
    expr: str
    unit: str = "short"
    limits: Thresholds = NO_THRESHOLDS


@dataclass(frozen=True, slots=True)
class TablePanel(Panel):
    """A table of current values with a row per value of the labels `by`, which maps labels to headings.

    `links` belong to the first label's cells.
    """

    title: str
    description: str
    by: Mapping[str, str]
    columns: Sequence[PanelColumn]
    width: int = 24
    height: int = 9
    links: Sequence[tuple[str, str]] = ()
    sort: str = ""

    def build(self) -> models.Panel:
        """The panel: instant queries joined by label, without the time and all other labels."""
        lettered = _with_letters(self.columns)
        sort = self.sort or self.columns[0].name
        panel = (
            table.Panel()
            .title(self.title)
            .description(self.description)
            .datasource(METRICS)
            .unit(self.columns[0].unit)
            .span(self.width)
            .height(self.height)
            .no_value("-")
            .filterable(True)
            .sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
            .targets([query(column.expr, "", letter, now=True) for letter, column in lettered])
            .with_transformation(transformation("merge", {}))
            .with_transformation(transformation("organize", self._organize(lettered)))
        )
        for column in self.columns:
            panel = panel.override_by_name(column.name, _overrides(column))
        links = [link(name, url).build() for name, url in self.links]
        first = next(iter(self.by.values()))
        return panel.override_by_name(first, [models.DynamicConfigValue("links", links)]).build()

    def _organize(self, lettered: Sequence[tuple[str, PanelColumn]]) -> dict[str, object]:
        # Grafana names a value column after its query only if there are several queries.
        values = (
            {f"Value #{letter}": column.name for letter, column in lettered}
            if len(lettered) > 1
            else {"Value": lettered[0][1].name}
        )
        order = [*self.by, *values]
        return {
            "excludeByName": {"Time": True},
            "includeByName": {},
            "indexByName": {name: at for at, name in enumerate(order)},
            "renameByName": {**self.by, **values},
        }


@dataclass(frozen=True, slots=True)
class StateTimelinePanel(Panel):
    """A panel of states over time. `names` maps each value to a word and a colour."""

    title: str
    description: str
    expr: str
    legend: str
    names: Mapping[int, tuple[str, str]]
    width: int = 12

    def build(self) -> models.Panel:
        """The panel: a row of coloured spans for each series."""
        options = {
            str(n): models.ValueMappingResult(text=word, color=c) for n, (word, c) in self.names.items()
        }
        return (
            statetimeline.Panel()
            .title(self.title)
            .description(self.description)
            .datasource(METRICS)
            .unit("none")
            .span(self.width)
            .height(8)
            .mappings([models.ValueMap(options)])
            .thresholds(thresholds([(None, GOOD)]))
            .show_value(commons.VisibilityMode.NEVER)
            .legend(_legend())
            .with_target(query(self.expr, self.legend, "A"))
            .build()
        )


@dataclass(frozen=True, slots=True)
class JaegerSearch(Dataquery, Builder[Dataquery]):
    """A search in the Jaeger data source: traces with a span of `service`."""

    service: str
    ref_id: str = "A"
    limit: int = 20
    tags: str = ""

    def build(self) -> Dataquery:
        """The query itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """The search in the format of Grafana's Jaeger data source."""
        values: dict[str, object] = {
            "refId": self.ref_id,
            "datasource": TRACES,
            "queryType": "search",
            "service": self.service,
            "limit": self.limit,
        }
        return {**values, "tags": self.tags} if self.tags else values


def thresholds(limits: Thresholds) -> dashboard.ThresholdsConfig:
    """The thresholds as Grafana's model."""
    steps = [models.Threshold(value, colour) for value, colour in limits]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def link(title: str, url: str) -> dashboard.DashboardLink:
    """A link that opens in the same window."""
    return dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)


def transformation(name: str, options: object, only: str = "") -> models.DataTransformerConfig:
    """A transformation of query results. `only` is a regular expression of query ids."""
    query_variable = models.MatcherConfig("byRefId", f"/^(?:{only})$/") if only else None
    return models.DataTransformerConfig(id_val=name, options=options, filter_val=query_variable)


_LARGEST = commons.SortOrder.DESCENDING
_DASHED = commons.GraphThresholdsStyleMode.DASHED


def _overrides(column: PanelColumn) -> list[models.DynamicConfigValue]:
    dynamic_config_values = [models.DynamicConfigValue("unit", column.unit)]
    if column.limits is not NO_THRESHOLDS:
        dynamic_config_values += [
            models.DynamicConfigValue("thresholds", thresholds(column.limits).build()),
            models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ]
    return dynamic_config_values


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(commons.LegendDisplayMode.LIST)
        .placement(commons.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )


def _with_letters(many: Sequence[T]) -> list[tuple[str, T]]:
    return [(chr(ord("A") + at), value) for at, value in enumerate(many)]
