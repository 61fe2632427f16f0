"""What the service graph costs: its layout with 12, 100 and 1,000 services, with one more, and a picture."""

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
from tests.tui.graph.test_drawing import topology
from tests.tui.graph.sample_graphs import tiered

MESHES = ((12, 20), (100, 150), (100, 300), (1000, 1500), (1000, 3000))
"""Services and calls between them."""

WIDTH, HEIGHT = 120, 32
TIMES = 5


def best(work: Callable[[], object]) -> float:
    """CPU milliseconds of the quickest of some runs, so that other work on the machine counts little."""
    took = []
    for _ in range(TIMES):
        begin = time.process_time()
        work()
        took.append((time.process_time() - begin) * 1000)
    return round(min(took), 2)


def measured(services: int, links: int) -> dict[str, float]:
    """One mesh; `place` tries looks where it may fit, `picture` draws a screenful that was drawn before."""
    shape = tiered(services, links)
    graph = order_graph(shape)
    layout = fit_layout(graph, WIDTH, HEIGHT)
    drawing, index = Drawing(layout), TopologyIndex.from_topology(topology(shape))
    more = Graph((*shape.nodes, "new"), (*shape.links, (shape.nodes[-1], "new")), shape.roots)
    rows = range(min(HEIGHT, layout.height))

    def picture() -> None:
        scene = build_scene(index, layout)
        for y in rows:
            drawing.row(y, scene, range(min(WIDTH, layout.width)))

    return {
        "services": services,
        "links": links,
        "sort_ms": best(lambda: order_graph(shape)),
        "place_ms": best(lambda: fit_layout(graph, WIDTH, HEIGHT)),
        "one_more_ms": best(lambda: fit_layout(order_graph(more, layout), WIDTH, HEIGHT)),
        "picture_ms": best(picture),
        "crossings": count_crossings(graph.order, graph.layered.segments),
        "width": layout.width,
        "height": layout.height,
    }


def main() -> None:
    """Print a line for each mesh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    rows = []
    for services, links in MESHES:
        values = measured(services, links)
        rows.append(values)
        print(
            f"{services:5} services {links:5} links: sort {values['sort_ms']:7.1f} ms, "
            f"place {values['place_ms']:7.1f} ms, with one more {values['one_more_ms']:7.1f} ms, "
            f"picture {values['picture_ms']:6.2f} ms, "
            f"{values['width']:.0f}x{values['height']:.0f} cells, {values['crossings']:.0f} crossings",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
