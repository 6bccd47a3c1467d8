"""
The way in for Python gRPC servers.

- ``handlers``: the four shapes of a handler, known here and nowhere else.
- ``sync`` and ``aio``: two thin shells that tell a tap what passes; neither wraps or inherits from the other.
- ``call``: one live call as the shells see it, from its (de)serialisers to its end; ``streams``: request and response
  streams with a tap on them.
- ``abort_handlers``: what becomes of a method by which clients end other calls; it is no exchange.
- ``context``: the stand-in for a context that shows too little of what its handler does with it.

An exchange begins when our behaviour is called with the request. A call that never comes that far, because an
interceptor before ours turned it away or its request did not parse, has no legs; the funnel says ``not_started``.

A client that gives up its stream of requests has not ended it, but grpc lets a handler read to its end first, and tells
a moment later that the client has left: mostly on a grpc.aio server (95 of 100), seldom on the synchronous one (up to
10). So the end of the requests is kept from the shadows for a millisecond, on a grpc.aio server until its loop has
heard what there is to hear, and a stream that was given up is reset there and never half-closed. What a shadow measures
of an upload is longer by this millisecond, at a control target too; a proxy keeps the end from its live server as long.
A grpc.aio handler that answers without once waiting in between is told nothing any more, nor are we: its answer stands,
and the shadow is asked what was answered.
"""
