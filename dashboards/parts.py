"""What every dashboard is made of: queries, panels with all they must have, variables, links, annotations.

A panel cannot be made here without title, description, unit and data source. Data sources are variables, so
that a dashboard is imported into any Grafana without an edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
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

Panel = Builder[models.Panel]
T = TypeVar("T")

METRICS = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
TRACES = models.DataSourceRef(type_val="jaeger", uid="${traces}")

GOOD, WARN, BAD, CALM = "green", "orange", "red", "blue"
Limits = Sequence[tuple[float | None, str]]
PLAIN: Limits = ((None, CALM),)
"""Colours from which value on; the first has none. What is neither good nor bad is plain."""
SUCCESS: Limits = ((None, BAD), (0.99, WARN), (0.995, GOOD))
"""The objective of dashboards/rules/alerts.yml is 99.5 %."""
LATENCY: Limits = ((None, GOOD), (500, WARN), (1000, BAD))
"""Milliseconds; alerts.yml warns at 1000."""
NONE_IS_GOOD: Limits = ((None, GOOD), (1, BAD))
SOME_IS_BAD: Limits = ((None, GOOD), (1e-9, BAD))
"""Where the figure is a rate."""


def query(expr: str, legend: str = "", ref: str = "", *, now: bool = False) -> prometheus.Dataquery:
    """A query over the time shown, or `now`: one value per series, as a table."""
    dataquery = prometheus.Dataquery().expr(expr).legend_format(legend).datasource(METRICS)
    if ref:
        dataquery = dataquery.ref_id(ref)
    return dataquery.instant().format("table") if now else dataquery.range()  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Lines(Panel):
    """A panel of lines over time. `queries` are pairs of PromQL and legend."""

    title: str
    words: str
    unit: str
    queries: Sequence[tuple[str, str]]
    limits: Limits = PLAIN
    width: int = 12
    stacked: bool = False
    most: float | None = None
    links: Sequence[tuple[str, str]] = ()

    def build(self) -> models.Panel:
        """The panel; several queries are told apart by letters."""
        panel = (
            timeseries.Panel()
            .title(self.title)
            .description(self.words)
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
            .targets([query(expr, legend, letter) for letter, (expr, legend) in _lettered(self.queries)])
        )
        if self.stacked:
            panel = panel.stacking(common.StackingConfig().mode(commons.StackingMode.NORMAL).group("A"))
        if self.most is not None:
            panel = panel.max(self.most)
        if self.limits is not PLAIN:
            panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(_DASHED))
        return panel.data_links([link(name, url) for name, url in self.links]).build()


@dataclass(frozen=True, slots=True)
class Figure(Panel):
    """A panel of one number, with its course behind it."""

    title: str
    words: str
    unit: str
    expr: str
    limits: Limits = PLAIN
    width: int = 4
    legend: str = ""
    decimals: float | None = None

    def build(self) -> models.Panel:
        """The panel: the last value, coloured by its limits."""
        panel = (
            stat.Panel()
            .title(self.title)
            .description(self.words)
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
class Column:
    """A column of figures in a table: its PromQL, unit and colours."""

    name: str
    expr: str
    unit: str = "short"
    limits: Limits = PLAIN


@dataclass(frozen=True, slots=True)
class Rows(Panel):
    """A table of what is now: a row for each value of the labels `by`, which are shown under other names.

    `links` are of the first label's cells.
    """

    title: str
    words: str
    by: Mapping[str, str]
    columns: Sequence[Column]
    width: int = 24
    height: int = 9
    links: Sequence[tuple[str, str]] = ()
    sort: str = ""

    def build(self) -> models.Panel:
        """The panel: instant queries, joined by their labels, time and the rest of the labels left out."""
        lettered = _lettered(self.columns)
        sort = self.sort or self.columns[0].name
        panel = (
            table.Panel()
            .title(self.title)
            .description(self.words)
            .datasource(METRICS)
            .unit(self.columns[0].unit)
            .span(self.width)
            .height(self.height)
            .no_value("-")
            .filterable(True)
            .sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
            .targets([query(column.expr, "", letter, now=True) for letter, column in lettered])
            .with_transformation(transformation("merge", {}))
            .with_transformation(transformation("organize", self._shown(lettered)))
        )
        for column in self.columns:
            panel = panel.override_by_name(column.name, _look(column))
        links = [link(name, url).build() for name, url in self.links]
        first = next(iter(self.by.values()))
        return panel.override_by_name(first, [models.DynamicConfigValue("links", links)]).build()

    def _shown(self, lettered: Sequence[tuple[str, Column]]) -> dict[str, object]:
        # Grafana names the column of values after its query only where there are several.
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
class States(Panel):
    """A panel of what state each thing was in over time; `names` has words and colour of each value."""

    title: str
    words: str
    expr: str
    legend: str
    names: Mapping[int, tuple[str, str]]
    width: int = 12

    def build(self) -> models.Panel:
        """The panel: a line of coloured spans for each series."""
        options = {
            str(n): models.ValueMappingResult(text=word, color=c) for n, (word, c) in self.names.items()
        }
        return (
            statetimeline.Panel()
            .title(self.title)
            .description(self.words)
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
    """A search of Jaeger's data source: traces with a span of `service`."""

    service: str
    ref_id: str = "A"
    limit: int = 20
    tags: str = ""

    def build(self) -> Dataquery:
        """Itself: there is nothing to make."""
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana's Jaeger data source keeps a search."""
        values: dict[str, object] = {
            "refId": self.ref_id,
            "datasource": TRACES,
            "queryType": "search",
            "service": self.service,
            "limit": self.limit,
        }
        return {**values, "tags": self.tags} if self.tags else values


def thresholds(limits: Limits) -> dashboard.ThresholdsConfig:
    """Colours by value."""
    steps = [models.Threshold(value, colour) for value, colour in limits]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def link(title: str, url: str) -> dashboard.DashboardLink:
    """A link in the same window."""
    return dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)


def transformation(name: str, options: object, only: str = "") -> models.DataTransformerConfig:
    """One step on the way from answers to what is drawn; `only` is a regular expression of queries."""
    chosen = models.MatcherConfig("byRefId", f"/^(?:{only})$/") if only else None
    return models.DataTransformerConfig(id_val=name, options=options, filter_val=chosen)


_LARGEST = commons.SortOrder.DESCENDING
_DASHED = commons.GraphThresholdsStyleMode.DASHED


def _look(column: Column) -> list[models.DynamicConfigValue]:
    dynamic_config_values = [models.DynamicConfigValue("unit", column.unit)]
    if column.limits is not PLAIN:
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


def _lettered(many: Sequence[T]) -> list[tuple[str, T]]:
    return [(chr(ord("A") + at), value) for at, value in enumerate(many)]
