// Types of a dashboard's JSON, from Grafana's own types. The test appends a program that assigns each dashboard to
// `Board`.
import type { AnnotationQuery, Dashboard, DataQuery } from '@grafana/schema';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as nodeGraph from '@grafana/schema/dist/esm/raw/composable/nodegraph/panelcfg/x/NodeGraphPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as statetimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has the value of an enum where the type has the enum.
type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
// Fields that Grafana's Prometheus data source adds to an annotation.
interface Query extends DataQuery { expr: string; range: boolean; interval: string }
interface AnnotationFormats { titleFormat: string; textFormat: string }
type Board = Plain<Omit<Dashboard, 'annotations'> & { annotations: { list: (AnnotationQuery<Query> & AnnotationFormats)[] } }>;
type Options = {
  heatmap: Plain<Partial<heatmap.Options>>;
  nodeGraph: Plain<nodeGraph.Options>; stat: Plain<Partial<stat.Options>>;
  'state-timeline': Plain<Partial<statetimeline.Options>>; table: Plain<Partial<table.Options>>;
  timeseries: Plain<Partial<timeseries.Options>>;
};
type Custom = {
  'state-timeline': Plain<statetimeline.FieldConfig>; table: Plain<Partial<table.FieldConfig>>;
  timeseries: Plain<timeseries.FieldConfig>;
};
