"""The configuration of one Envoy as a tree whose branches are made when they are unfolded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from meshwright.tui.features.sidecars import config_tree

EXPAND_LIMIT = 20
"""Matches that are unfolded at once; of more only the branches above them."""


class ConfigTree(Tree[Any]):
    """`show` gives it a dump, `find` leaves only what holds a text."""

    DEFAULT_CSS = """
    ConfigTree { background: $background; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    ConfigTree:focus { background-tint: transparent; }
    ConfigTree > .tree--cursor { background: $mesh-cursor 50%; color: $foreground; text-style: none; }
    ConfigTree:focus > .tree--cursor { background: $mesh-cursor; color: $foreground; text-style: none; }
    ConfigTree > .tree--guides, ConfigTree:focus > .tree--guides { color: $mesh-line; }
    """

    def __init__(self) -> None:
        super().__init__("configuration")
        self.show_root = False
        self.guide_depth = 2
        self._dump: dict[str, Any] = {}

    def set_dump(self, configs: Iterable[Mapping[str, Any]]) -> None:
        """Another dump."""
        self._dump = {}
        for name, section in config_tree.sections(configs):
            self._dump[name if name not in self._dump else f"{name} {len(self._dump)}"] = section
        self.filter_text("")

    def filter_text(self, text: str) -> int:
        """Only the branches down to what holds the text; how many there are, as far as they are counted."""
        self.root.remove_children()
        self.root.data = self._dump
        self.root.expand()
        if not text.strip():
            self._load_children(self.root)
            self.cursor_line = 0
            return 0
        ways = config_tree.matching_paths(self._dump, text.strip())
        for way in ways:
            self._show_path(way)
        self.cursor_line = 0
        return len(ways)

    def _show_path(self, way: tuple[str, ...]) -> None:
        """Show one way, and no others beside it."""
        at, value = self.root, self._dump
        for key in way:
            value = dict(config_tree.branches(value))[key]
            known = next((child for child in at.children if child.data and child.data[0] == key), None)
            at = known or self._add(at, key, value)
            if key != way[-1]:
                at.expand()

    def _add(self, at: TreeNode[Any], key: str, value: Any) -> TreeNode[Any]:
        said = config_tree.label(key, value)
        if config_tree.is_leaf(value):
            return at.add_leaf(said, data=(key, value))
        return at.add(said, data=(key, value))

    def _load_children(self, node: TreeNode[Any]) -> None:
        value = node.data[1] if node.data and node is not self.root else self._dump
        for key, part in config_tree.branches(value):
            self._add(node, key, part)

    def on_tree_node_expanded(self, message: Tree.NodeExpanded[Any]) -> None:
        """A branch is unfolded for the first time."""
        if message.node is not self.root and not message.node.children:
            self._load_children(message.node)
