"""
What a call may do in the world, and which calls are therefore not mirrored.

Nothing happens twice in the world (DESIGN, law 8): what may have side effects is mirrored only if the configuration
names it. Two things are judged, and the worse one decides:

The method. ``effects`` of an experiment gives a class per method pattern, the first match decides. Without one, a
method with a protocol map is ``safe``: maps are written for inference. So is a method nobody has a map for, because an
experiment mirrors nothing that its ``methods`` do not list, gRPC says nothing about effects, and a mesh that refused
every unknown method would mirror no model of yours. One kind is excepted: a method that only a wildcard covers and
whose name begins or ends with a verb of change (``FlushCache``, ``StartDeferredCompletion``, ``RepositoryModelLoad``)
is ``unsafe``, unless it begins with one of reading (``GetLoad``). A wildcard is where such a method comes in unseen;
its full name in ``methods`` or in ``effects`` says that it is meant.

The request. One that offers tools is unsafe whatever its method's class: what a candidate does with tools nobody knows.
Messages of a conversation that a model has already had with tools are text, and stay safe.

``idempotent`` methods are mirrored as ``safe`` ones are. The class is for whoever sends a call again.

An unsafe call is shed (``unsafe``) unless ``allow_unsafe`` of the target covers its method. Then it goes without its
tools; or, where the target has ``stubs``, with those tools only that have one. A shadow's tool calls are run by nobody:
they end in its leg. In the conversation, results of stubbed tools are replaced by the stub's answer, so that every turn
of a shadow rests on the same answers and none on the world. A backend that runs tools by itself is not held back by a
stub: leave ``stubs`` empty for it.
"""

from __future__ import annotations

import re
from enum import StrEnum

from shadowmesh.policy.routes import matches

_VERBS = frozenset({"Abort", "Activate", "Add", "Append", "Apply", "Cancel", "Clear", "Close", "Commit", "Continue",
                    "Create", "Deactivate", "Delete", "Deploy", "Disable", "Drop", "Enable", "Evict", "Flush", "Import",
                    "Insert", "Install", "Kill", "Load", "Migrate", "Modify", "Open", "Patch", "Pause", "Post",
                    "Publish", "Purge", "Put", "Register", "Release", "Reload", "Remove", "Rename", "Replace", "Reset",
                    "Restart", "Restore", "Resume", "Revoke", "Save", "Set", "Shutdown", "Sleep", "Start", "Stop",
                    "Store", "Submit", "Subscribe", "Terminate", "Undeploy", "Unload", "Unregister", "Unsubscribe",
                    "Update", "Upload", "Upsert", "Wake", "Write"})  # fmt: skip
# Triton's TraceSetting and LogSettings change what they are asked about.
_LAST_WORDS = _VERBS | {"Setting", "Settings"}
_READS = frozenset({"Check", "Count", "Describe", "Fetch", "Get", "Has", "Is", "List", "Query", "Read", "Show"})
_WORD = re.compile(r"[A-Z]?[a-z]+")


class Effect(StrEnum):
    """What a second call of a method does: nothing, nothing more than the first one did, or something again."""

    SAFE = "safe"
    IDEMPOTENT = "idempotent"
    UNSAFE = "unsafe"


def effect_of(method: str, classes: dict[str, Effect], covered: tuple[str, ...], *, mapped: bool) -> Effect:
    """
    Return the class of a method.

    Args:
        method: its full name.
        classes: ``effects`` of the experiment.
        covered: ``methods`` of the experiment.
        mapped: whether it has a protocol map.
    """
    for pattern, effect in classes.items():
        if matches(pattern, method):
            return effect
    unnamed = not mapped and method not in covered
    return Effect.UNSAFE if unnamed and _says_change(method.rpartition("/")[2]) else Effect.SAFE


def _says_change(name: str) -> bool:
    words = [word.capitalize() for word in _WORD.findall(name)]
    if not words or words[0] in _READS:
        return False
    return words[0] in _VERBS or words[-1] in _LAST_WORDS


def allowed(method: str, allow_unsafe: tuple[str, ...]) -> bool:
    """Return whether a target takes unsafe calls of this method."""
    return any(matches(pattern, method) for pattern in allow_unsafe)
