"""
Reads YAML, and refuses what it would silently drop.

libyaml reads several times as fast as Python does, and is used where PyYAML has it. What it refuses Python reads again:
the errors are the same everywhere, and no text is refused that Python takes.
"""

from __future__ import annotations

from typing import Any

import yaml

from shadowmesh.errors import ConfigError

_MOST_OPENED = 1000
"""Collections that a text may open for libyaml to read it, which would fall off its stack in a hundred thousand."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML would silently let go of the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Check the keys as written, before merges are made."""
        node = super().compose_mapping_node(anchor)
        _check(node)
        return node


class _QuickLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same over libyaml, which composes without asking anybody."""

    def get_single_node(self) -> yaml.Node | None:
        """Check the keys of every mapping of the document."""
        root: yaml.Node | None = super().get_single_node()
        waiting, seen = [root], set()
        while waiting:
            node = waiting.pop()
            # An alias is the very node it stands for.
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.MappingNode):
                _check(node)
                waiting.extend(one for pair in node.value for one in pair)
            elif isinstance(node, yaml.SequenceNode):
                waiting.extend(node.value)
        return root


def _check(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if (key.tag, key.value) in seen:
                raise yaml.composer.ComposerError(problem=f"key {key.value!r} twice", problem_mark=key.start_mark)
            seen.add((key.tag, key.value))


def load(text: str) -> Any:
    """
    Return what a document says, ``None`` where it says nothing.

    Raises:
        ConfigError: it is not YAML; the key is the line, where that is known.
    """
    try:
        return _quickly(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The last two: numbers and dates that are none, and nesting without end.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else ""
        problem = str(getattr(error, "problem", None) or "not YAML").replace("\n", " ")
        raise ConfigError(problem, key=where) from error


def _quickly(text: str) -> Any:
    if sum(map(text.count, "[{-?")) <= _MOST_OPENED:
        try:
            return yaml.load(text, _QuickLoader)  # noqa: S506  # a SafeLoader that is stricter still
        except (yaml.YAMLError, ValueError, RecursionError):
            pass
    return yaml.load(text, _Loader)  # noqa: S506  # likewise
