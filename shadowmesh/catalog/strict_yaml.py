"""Reads YAML, and refuses what it would silently drop."""

from __future__ import annotations

from typing import Any

import yaml

from shadowmesh.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML would silently let go of the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Check the keys as written, before merges are made."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if (key.tag, key.value) in seen:
                    raise yaml.composer.ComposerError(problem=f"key {key.value!r} twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node


def load(text: str) -> Any:
    """
    Return what a document says, ``None`` where it says nothing.

    Raises:
        ConfigError: it is not YAML; the key is the line, where that is known.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader that is stricter still
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The last two: numbers and dates that are none, and nesting without end.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else ""
        problem = str(getattr(error, "problem", None) or "not YAML").replace("\n", " ")
        raise ConfigError(problem, key=where) from error
