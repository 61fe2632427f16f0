"""The cost of the service graph: its layout for 12 to 1,000 services, an added service, and drawing."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from meshwright.tui.graph.crossing_reduction import count_crossings
from meshwright.tui.graph.density import fit_layout
from meshwright.tui.graph.drawing import Drawing
from meshwright.tui.graph.graph import Graph
from meshwright.tui.graph.layout import order_graph
from meshwright.tui.graph.viewport import TopologyIndex, build_scene
from tests.tui.graph.sample_graphs import tiered
from tests.tui.graph.test_drawing import topology

MESHES = ((12, 20), (100, 150), (100, 300), (1000, 1500), (1000, 3000))
"""(services, links between them)."""

WIDTH, HEIGHT = 120, 32
RUNS = 5


def fastest_ms(work: Callable[[], object]) -> float:
    """CPU milliseconds of the fastest of several runs, so that other load on the machine matters little."""
    durations = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        durations.append((time.process_time() - start) * 1000)
    return round(min(durations), 2)


def measure(services: int, links: int) -> dict[str, float]:
    """One mesh: `sort` orders it, `place` picks a density that fits, `draw` redraws a screenful."""
    shape = tiered(services, links)
    graph = order_graph(shape)
    layout = fit_layout(graph, WIDTH, HEIGHT)
    drawing, index = Drawing(layout), TopologyIndex.from_topology(topology(shape))
    extended = Graph((*shape.nodes, "new"), (*shape.links, (shape.nodes[-1], "new")), shape.roots)
    rows = range(min(HEIGHT, layout.height))

    def draw() -> None:
        scene = build_scene(index, layout)
        for y in rows:
            drawing.row(y, scene, range(min(WIDTH, layout.width)))

    return {
        "services": services,
        "links": links,
        "sort_ms": fastest_ms(lambda: order_graph(shape)),
        "place_ms": fastest_ms(lambda: fit_layout(graph, WIDTH, HEIGHT)),
        "add_one_ms": fastest_ms(lambda: fit_layout(order_graph(extended, layout), WIDTH, HEIGHT)),
        "draw_ms": fastest_ms(draw),
        "crossings": count_crossings(graph.order, graph.layered.segments),
        "width": layout.width,
        "height": layout.height,
    }


def main() -> None:
    """Measure and print a line for each mesh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    rows = []
    for services, links in MESHES:
        values = measure(services, links)
        rows.append(values)
        print(
            f"{services:5} services {links:5} links: sort {values['sort_ms']:7.1f} ms, "
            f"place {values['place_ms']:7.1f} ms, add one {values['add_one_ms']:7.1f} ms, "
            f"draw {values['draw_ms']:6.2f} ms, "
            f"{values['width']:.0f}x{values['height']:.0f} cells, {values['crossings']:.0f} crossings",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
