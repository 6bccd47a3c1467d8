"""
Legs become spans here, and everything about our own signals lives here.

- ``settings``: what a user may set.
- ``attributes``: one table, read both ways, between a :class:`~shadowmesh.model.Leg` and span attributes (pure).
- ``propagation``: W3C trace context in and out of gRPC metadata.
- ``spans``: finished OpenTelemetry spans made from recorded facts; nothing is ever an open span.
- ``export``: the queue of whole pairs in front of the user's span exporter, on a ``backlog``; ``otlp`` encodes them.
- ``content``: captured text as log events or as attributes of spans; ``content_export`` is the queue of the events, and
  ``log_records``, ``otlp_logs`` and ``otlp_logs_http`` let the SDK's exporters of logs send them.
- ``providers``: exporters and resource from settings and the standard ``OTEL_*`` variables.
- ``faults``: errors of the mirror side, counted per cause.
- ``status``: the endpoint that says how this process is doing; ``status_shape`` is the shape of its
  answer and ``snapshot`` makes it, ``local_address`` and ``local_listener`` keep it on this machine, ``life`` knows
  since when it runs.
- ``server_tls``: the certificate of what listens beyond this machine, read again when it is renewed; ``free_port`` says
  whether somebody listens there already.
- ``counters``: per-thread tallies, the live side's counters without a lock; ``metrics`` publishes them,
  each as it is ``observed``.
"""
