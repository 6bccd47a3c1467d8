"""
The processor: spans of legs in, comparisons out as metrics and compare spans.

- ``settings``: what a user may set.
- ``receiver``: OTLP over gRPC, raw bytes to a handler, every refusal with the status OTLP asks for.
- ``decode``: OTLP bytes to legs and to funnel points (pure).
- ``pairing``: legs of one exchange find each other, in any order, within a window and a capacity (pure).
- ``funnel``: the interceptors' own account of what they sent, beside what became of it here (pure).
- ``accumulators``: counters and histograms with bounded attribute sets, given out as the SDK's data points.
- ``instruments``: every metric as one row of a table; ``metrics``: what one pair adds to which of them.
- ``compare_span``: the small span that says in the trace what the pair showed.
- ``pipeline``: all of the above folded, from bytes to metrics, without I/O.
- ``outbox``: a bounded queue with a worker, whose senders are in ``forward`` and ``exporters``.
- ``endpoints``: what an endpoint means, and whether it is ourselves.
- ``destination``: one configured endpoint with the outboxes it asks for.
- ``service``: the running processor.

Everything up to ``pipeline`` runs on the event loop's thread, so nothing here is locked.
"""
