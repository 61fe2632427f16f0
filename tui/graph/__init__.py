"""The service graph on a grid of character cells: layout and drawing, pure.

Nothing that is at hand fits. netext has a Rust core, draws lines of different callers as one, sets labels
over other lines and takes 104x45 cells for 12 services; grandalf and networkx give points of a plane, and
what is hard here comes after those: whole cells, lines that never share one, words in a place of their own.
So layers, order, rows, channels and lines are made here, each in a module, as layered drawing goes
(Sugiyama, Tagawa, Toda 1981): `layers` → `ordering` → `placing` → `channels` → `layout`, then `drawing`.
"""
