"""
Mirrors a Python program's gRPC servers without a line of its code: ``shadowmesh instrument -- PROGRAM``.

- ``environment``: what the program's environment has to say.
- ``site/sitecustomize.py``: what Python loads at its start because of that, in the program and in its children.
- ``hook``: waits for ``grpc`` to be imported, and adds the interceptor to every server that is built.

Nothing of it may break the program: what goes wrong is one line on standard error, and the program runs on unmirrored.
"""
