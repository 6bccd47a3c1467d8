"""
A byte-level forwarder in front of any gRPC server: what mirrors is the interceptor that ``build`` hands in.

- ``settings``: what a user may set.
- ``metadata``: what of a caller's metadata, and of an answer's, goes on (pure).
- ``arity``: which shape a method has: told, read from descriptors (those of protocols too), asked of the server, or
  unknown.
- ``reflection``: asks the server for its methods.
- ``upstream``: the connections to the live server, and calls over them.
- ``forward``: one handler for every method, in its true shape.
- ``health``: answers for the proxy itself; every other health question is the live server's.
- ``port``: whether it is to be had, and whether it is the live server's.
- ``server``: listens, drains, ends.
- ``workers``: several processes on one port.

A method whose shape nobody knows is forwarded as a stream both ways, which serves every shape on the wire; what differs
is what the legs say of it (a stream of one message).
"""
