"""
What the bytes of a call mean (pure: takes bytes and message classes, loads nothing).

- ``paths``: the path language, ``usage.input_tokens`` or ``messages[*].content``, over a protobuf message.
- ``sources``: where a map finds a value: paths, and what is made of them, over JSON in a field (``json_source``) and
  tensors by name (``tensors``) too; ``structs`` are JSON as protobuf has it.
- ``map_settings``: the shape of a protocol map's data file; ``protocol_map``: a map bound to message classes.
- ``parts``: prompt, ``conversation`` and tools of a request, in fields or in JSON (``json_parts``, by ``json_paths``);
  ``tool_calls`` are those of either side.
- ``rewrite`` changes a request, at paths that are ``settable``: by ``edits`` of single fields and of ``json_fields``,
  ``conversation_edits``, ``tensor_edits``, over ``wire``, which touches no other byte, and ``json_edits``, which touch
  no other character.
- ``call_metadata``: values that stand in a call's metadata, ``md:key``.
- ``identity``: the id by which a server knows a request, in whose place a shadow gets its own; ``aborts`` are methods
  by which a client ends requests of these ids.
- ``streams``: how the messages of an answer become the answer.
- ``messages``: bytes of one exchange → its messages, each parsed once.
- ``reading``: these → :class:`~shadowmesh.model.Fields` and the answer itself; ``fields`` finds those of a message
  together.
- ``content``: the same → what was said, as the GenAI conventions write it.
- ``exchanges``: one long call → the exchanges inside it.
- ``translation``: a request of one protocol → the same question in another, or why not. ``generate_map`` is what a map
  says of it (``generate``), over ``places`` (``tensor_places`` and ``json_places``) and ``turns`` of a conversation;
  ``generate_read`` and ``generate_write`` go by way of a ``generation``, which is in no protocol's words, and
  ``unread`` finds what nobody has read. ``likeness`` compares answers of two protocols.

A method without a map is read as ``raw``: bytes, counts, times and status, and every field unknown.

A protocol of your own, in ten minutes
--------------------------------------

Say your models speak this, ``acme.proto``::

    syntax = "proto3";
    package acme;

    service Models {
      rpc Ask(Question) returns (stream Piece);
    }

    message Question {
      string model = 1;
      string prompt = 2;
      uint32 most = 3;
    }

    message Piece {
      string text = 1;
      string why_ended = 2;
      Usage usage = 3;
    }

    message Usage {
      uint32 read = 1;
      uint32 written = 2;
    }

1. Its descriptors as data; a module that protoc has written, or a server with reflection, would do as well::

    protoc --include_imports -o acme.binpb acme.proto

2. Some real calls. The command stands in front of your server as the proxy does, and what it writes is all that was
   said, prompts and answers, readable by you alone::

    shadowmesh capture --listen 127.0.0.1:50050 --live 127.0.0.1:50051 --to calls

3. The map, ``acme.yaml``. Its keys are those of ``ProtocolMapSettings``, and the files in ``shadowmesh/catalog/maps``
   are examples of everything. A field that the protocol does not say is left out, and stays unknown::

    version: 1
    protocol: acme
    finish_reasons: {done: stop, full: length}
    methods:
      /acme.Models/Ask:
        operation: text_completion
        request: {model: model, max_tokens: most}
        parts: {prompt: prompt}
        response: {text: text, finish_reason: why_ended, input_tokens: usage.read, output_tokens: usage.written}

4. What is read of the calls, field by field, and which fields were found in none::

    shadowmesh protocol check acme.yaml --descriptors acme.binpb --sample calls

5. The configuration::

    protocols:
      - {file: acme.yaml, descriptors: acme.binpb}
    experiments:
      - name: new-model
        methods: [/acme.Models/Ask]
        targets:
          - {name: candidate, address: "127.0.0.1:50052"}

A target that speaks it, or a live server of it beside a target that speaks another one, needs to know how it is asked::

        generate: {arity: unary_stream, said: [max_tokens]}

Whatever a request says must be read then, or stand in ``ignored`` or ``neutral``; a field that does not refuses.

A server that knows its requests by an id refuses one that runs already. Where the id is, ``md:key`` if in the metadata,
stands with the method, and beside the methods stands by what other one clients end a request of that id::

        identity: call_id
    aborts:
      /acme.Models/Stop: {ids: "call_ids[*]", of: [/acme.Models/Ask]}

A shadow has an id of its own then, and what a client ends by id ends at the shadows too, by theirs.

Where the messages of a stream are not pieces that only have to be joined, ``streams`` has what to say about it; where a
call carries many exchanges, ``exchanges``. ``tests/catalog/test_own_protocol.py`` does all this with these very texts.
"""  # noqa: D214, D405, D411  # ``methods`` is a key of the map, no section
