"""The configuration of one Envoy as a tree. Branches are built when they are first expanded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from meshwright.tui import keys
from meshwright.tui.features.sidecars import config_tree
from meshwright.tui.keys import bind


class ConfigTree(Tree[Any], inherit_bindings=False):
    """Shows a configuration dump."""

    ICON_NODE = "► "
    ICON_NODE_EXPANDED = "▼ "
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.OPEN, "select_cursor"),
        bind(keys.UP, "cursor_up", show=False),
        bind(keys.DOWN, "cursor_down", show=False),
        bind(keys.LEFT, "collapse", show=False),
        bind(keys.RIGHT, "expand", show=False),
        bind(keys.PAGE_UP, "page_up", show=False),
        bind(keys.PAGE_DOWN, "page_down", show=False),
        bind(keys.FIRST, "scroll_home", show=False),
        bind(keys.LAST, "scroll_end", show=False),
    ]

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
        """Show a dump, all branches collapsed."""
        self._dump = {}
        for name, section in config_tree.sections(configs):
            self._dump[name if name not in self._dump else f"{name} {len(self._dump)}"] = section
        self.filter_text("")

    def action_collapse(self) -> None:
        """Collapse the selected branch; a collapsed one or a leaf: go to its parent."""
        node = self.cursor_node
        if node is not None and node.is_expanded and node.allow_expand:
            node.collapse()
        else:
            self.action_cursor_parent()

    def action_expand(self) -> None:
        """Expand the selected branch."""
        if self.cursor_node is not None and self.cursor_node.allow_expand:
            self.cursor_node.expand()

    def filter_text(self, text: str) -> int:
        """Show only the branches that lead to matches; returns the number of matches, up to the limit."""
        self.root.remove_children()
        self.root.data = self._dump
        self.root.expand()
        if not text.strip():
            self._load_children(self.root)
            self.cursor_line = 0
            return 0
        paths = config_tree.matching_paths(self._dump, text.strip())
        for path in paths:
            self._show_path(path)
        self.cursor_line = 0
        return len(paths)

    def _show_path(self, path: tuple[str, ...]) -> None:
        """Add and expand the branches of one path."""
        node, value = self.root, self._dump
        for key in path:
            value = dict(config_tree.branches(value))[key]
            existing = next((child for child in node.children if child.data and child.data[0] == key), None)
            node = existing or self._add(node, key, value)
            if key != path[-1]:
                node.expand()

    def _add(self, parent: TreeNode[Any], key: str, value: Any) -> TreeNode[Any]:
        label = config_tree.label(key, value)
        if config_tree.is_leaf(value):
            return parent.add_leaf(label, data=(key, value))
        return parent.add(label, data=(key, value))

    def _load_children(self, node: TreeNode[Any]) -> None:
        value = node.data[1] if node.data and node is not self.root else self._dump
        for key, part in config_tree.branches(value):
            self._add(node, key, part)

    def on_tree_node_expanded(self, message: Tree.NodeExpanded[Any]) -> None:
        """Build the children of a branch that is expanded for the first time."""
        if message.node is not self.root and not message.node.children:
            self._load_children(message.node)
