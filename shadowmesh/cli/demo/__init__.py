"""
``shadowmesh demo``: two real models, real calls, one comparison.

Read in this order:

- ``corpus`` and ``language_model``: English text that ships with CPython, and an n-gram model that learns it;
- ``api``, ``service``, ``model_server``: that model behind our reference API, in a process of its own;
- ``traffic``: the client;
- ``configuration``, ``stage`` and ``process``: which processes there are, how they are configured, started and
  ended; ``leash`` ties each to the demo;
- ``sink``, ``pairs`` and ``results``: the OTLP that comes out of the processor, and what it says;
- ``exchange``, ``printing`` and ``document``: that as a tree, as text and as JSON;
- ``judging``: the verdict, of what the processor has stored;
- ``command``: the command itself.
"""
