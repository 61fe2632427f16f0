// What Grafana's own types say of a dashboard, as it is written to a file. Programs that assign each to `Board`
// follow this text.
import type { AnnotationQuery, Dashboard, DataQuery } from '@grafana/schema';
import type * as nodeGraph from '@grafana/schema/dist/esm/raw/composable/nodegraph/panelcfg/x/NodeGraphPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as statetimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has an enum's value where the type has the enum.
type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
// What Grafana's Prometheus data source adds to an annotation.
interface Query extends DataQuery { expr: string; range: boolean; interval: string }
interface Told { titleFormat: string; textFormat: string }
type Board = Plain<Omit<Dashboard, 'annotations'> & { annotations: { list: (AnnotationQuery<Query> & Told)[] } }>;
type Options = {
  nodeGraph: Plain<nodeGraph.Options>; stat: Plain<Partial<stat.Options>>;
  'state-timeline': Plain<Partial<statetimeline.Options>>; table: Plain<Partial<table.Options>>;
  timeseries: Plain<Partial<timeseries.Options>>;
};
type Custom = {
  'state-timeline': Plain<statetimeline.FieldConfig>; table: Plain<Partial<table.FieldConfig>>;
  timeseries: Plain<timeseries.FieldConfig>;
};
