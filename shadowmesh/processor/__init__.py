"""
The processor: spans of legs in, comparisons out as metrics and compare spans.

- ``settings``: what a user may set.
- ``receiver``: both ports in front of one ``intake``, which takes a request in before its sender is told so.
  ``otlp_grpc`` and ``otlp_http`` speak the protocols and ``otlp_services`` says what is called where; ``otlp_json`` is
  OTLP's JSON (pure), ``gunzip`` unpacks with a limit. What they share is in ``reception``: who may send (``tokens``),
  how much at once (``limits``), and why not (``refusal``). ``http_server`` is the HTTP port,
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
  these are, found once; ``first_points``: what a new series was before it appeared. ``scrape`` shows them to a
  Prometheus that comes for them, by ``scrape_names`` and ``scrape_text`` (both pure).
- ``verdict_routes``: what the store says to those who roll out.
- ``compare_span``: the small span that says in the trace what the pair showed.
- ``decode_content``: captured text out of log events (pure).
- ``pipeline``: all of the above folded, from bytes to pairs and from stored pairs to metrics, without I/O.
- ``keeper``: journal, pipeline and store joined: what is acknowledged survives, what is stored is counted once, and
  after a crash it goes on from its ``checkpoint`` (pure). ``writer`` stores in batches, in a thread of its own;
  ``folds`` makes ledgers of what is settled, from which verdicts are made; ``identity`` is the name that outlives the
  process, and the resource that says it.
- ``judging``: candidates are watched and judged while the processor runs. ``verdicts`` makes the verdicts,
  ``verdict_routes`` gives them to those who ask, ``verdict_metrics`` to Prometheus, and ``alerts`` to those who do not
  ask: by the log, and by a ``webhook``.
- ``outbox``: a bounded queue with a worker, whose senders are in ``forward`` and ``exporters``.
- ``endpoints``: what an endpoint means, and whether it is ourselves.
- ``destination``: one configured endpoint with the outboxes it asks for.
- ``service``: the running processor, by its ``clocks``; ``status`` is what it says of itself.

Everything up to ``pipeline`` runs on the event loop's thread, so nothing there is locked.
"""
