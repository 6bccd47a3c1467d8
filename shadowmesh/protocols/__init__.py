"""
What the bytes of a call mean (pure: takes bytes and message classes, loads nothing).

- ``paths``: the path language, ``usage.input_tokens`` or ``messages[*].content``, over a protobuf message.
- ``protocol_map``: the shape of a protocol map's data file, and a map bound to message classes.
- ``parts``: prompt, conversation and tools of a request; ``tool_calls`` are those of either side. ``rewrite`` changes a
  request, by ``edits`` of single fields and of the ``conversation``, over ``wire``, which touches no other byte.
- ``reading``: bytes of one exchange → :class:`~shadowmesh.model.Fields` and the answer itself.
- ``content``: the same bytes → the messages that were said, as the GenAI conventions write them.
- ``exchanges``: one long call → the exchanges inside it.

A method without a map is read as ``raw``: bytes, counts, times and status, and every field unknown.
"""
