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
"""
