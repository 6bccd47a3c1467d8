"""
Finds and loads protocol maps.

``maps/`` holds one data file per built-in protocol; ``builtin`` loads them and binds them to the descriptors of
``schema``. To add a method, add it to its file: nothing else changes.
"""
