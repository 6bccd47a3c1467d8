"""
Finds and loads protocol maps.

``maps/`` holds one data file per built-in protocol; ``builtin`` loads them and binds them to the descriptors of
``schema``. To add a method, add it to its file: nothing else changes.

A ``catalog`` is all protocols of one configuration. ``configured`` makes it: the built-in ones, those that installed
packages bring, and those that were ``given`` in files, which are read once (``strict_yaml``) and kept as they were
read, because a worker process has to know the same. Their ``descriptors`` come from a file, a module, or a server by
``reflection``, whose messages the proxy reads too.

``tokenizers`` make text of token ids, for protocols that carry nothing else.
"""
