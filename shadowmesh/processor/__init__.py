"""
The processor: spans of legs in, comparisons out as metrics and compare spans.

- ``settings``: what a user may set.
- ``receiver``: both ports in front of one ``intake``, which takes a request in before its sender is told so.
  ``otlp_grpc`` and ``otlp_http`` speak the protocols and ``otlp_services`` says what is called where; ``otlp_json`` is
  OTLP's JSON (pure), ``gunzip`` unpacks with a limit. What they share is in ``reception``: who may send (``tokens``,
  ``server_tls``), how much at once (``limits``), and why not (``refusal``). ``http_server`` is the HTTP port,
  ``http_connection`` its patience; ``health`` answers probes on both.
- ``journal``: what was received and is not yet stored, on the disk before its sender is told; many appends share one
  sync. ``journal_format`` is its bytes (pure), ``journal_segments`` its files, ``journal_disk`` the operating system.
- ``decode``: OTLP bytes to legs and to funnel points (pure), by the wire view in ``decode_view``. ``decode_attributes``
  reads an attribute once and then knows it, ``decode_aliases`` says in our words what others call by their own names,
  ``decode_records`` makes the frozen records (all pure).
- ``pairing``: legs of one exchange find each other, in any order, within a window and a capacity (pure); it knows from
  where the journal is still needed. ``pairing_exchange``: what waits of one exchange (pure).
- ``funnel``: the interceptors' own account of what they sent, beside what became of it here (pure).
- ``accumulators``: counters and histograms with bounded attribute sets, given out as the SDK's data points.
- ``instruments``: every metric as a row of a table; ``metrics``: what one pair adds to which of them; ``points``: where
  these are, found once. ``scrape`` shows them to a Prometheus that comes for them, by ``scrape_names`` and
  ``scrape_text`` (both pure).
- ``compare_span``: the small span that says in the trace what the pair showed.
- ``decode_content``: captured text out of log events (pure).
- ``pipeline``: all of the above folded, from bytes to pairs and from stored pairs to metrics, without I/O.
- ``keeper``: journal, pipeline and store joined: what is acknowledged survives, what is stored is counted once, and
  after a crash it goes on from its ``checkpoint`` (pure). ``writer`` stores in batches, in a thread of its own;
  ``identity`` is the name that outlives the process.
- ``outbox``: a bounded queue with a worker, whose senders are in ``forward`` and ``exporters``.
- ``endpoints``: what an endpoint means, and whether it is ourselves.
- ``destination``: one configured endpoint with the outboxes it asks for.
- ``service``: the running processor.

Everything up to ``pipeline`` runs on the event loop's thread, so nothing there is locked.
"""
