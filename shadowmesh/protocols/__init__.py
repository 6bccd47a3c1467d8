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

Where the messages of a stream are not pieces that only have to be joined, ``streams`` has what to say about it; where a
call carries many exchanges, ``exchanges``. ``tests/catalog/test_own_protocol.py`` does all this with these very texts.
"""  # noqa: D214, D405, D411  # ``methods`` is a key of the map, no section
