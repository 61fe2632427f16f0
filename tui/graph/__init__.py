"""The service graph on a grid of character cells: layout and drawing. Pure.

No library fits. netext has a Rust core, merges lines of different callers, puts labels over other lines, and
needs 104x45 cells for 12 services. grandalf and networkx return points in a plane; what is hard here comes
afterwards: whole cells, lines that never share one, labels with cells of their own.

The layout is a layered drawing (Sugiyama, Tagawa, Toda 1981), one module for each step: `layers` →
`bundles` → `crossing_reduction` →
`row_assignment` → `row_layout` with `channel_routing` → `layout`, then `drawing`.
"""
