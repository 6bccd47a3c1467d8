"""
The processor: spans of legs in, comparisons out as metrics and compare spans.

- ``settings``: what a user may set, with ``journal_settings`` and ``alert_settings``.
- ``receiver``: both ports in front of one ``intake``, which takes a request in before its sender is told so.
  ``otlp_grpc`` and ``otlp_http`` speak the protocols and ``otlp_services`` says what is called where; ``otlp_json`` is
  OTLP's JSON (pure), ``gunzip`` unpacks with a limit. What they share is in ``reception``: who may send (``tokens``),
  how much at once (``limits``), and why not (``refusal``). ``http_server`` is the HTTP port,
  ``http_connection`` its patience; ``health`` answers probes on both.
- ``journal``: what was received and is not yet stored, on the disk before its sender is told; many appends share one
  sync. ``journal_format`` is its bytes (pure), ``journal_payload`` what they say of a request, ``journal_segments`` its
  files (``journal_file`` is one to be read), ``journal_disk`` the operating system.
- ``decode``: OTLP bytes to legs and to points of counters (pure), by the wire view in ``decode_view``.
  ``decode_attributes`` reads an attribute once and then knows it, ``decode_aliases`` says in our words what others call
  by their own names, ``decode_records`` makes the frozen records (all pure).
- ``pairing``: legs of one exchange find each other, in any order, within a window and a capacity (pure); it knows from
  where the journal is still needed. ``pairing_exchange``: what waits of one exchange (pure).
- ``funnel``: the interceptors' own account of what they sent, beside what became of it here; ``sampling``: how they
  drew calls. Both book the ``growth`` of counters (all pure).
- ``accumulators``: what counts, with bounded attribute sets, given out as the SDK's data points: counters, and
  ``histograms`` with explicit bounds or ``exponential`` ones.
- ``instruments``: every metric as a row of a table; ``metrics``: which series a pair belongs to; ``figures``: what it
  adds to them; ``labels``: what may stand in an attribute; ``points``: where these are, found once; ``first_points``:
  what a new series was before it appeared. ``scrape`` shows them to a Prometheus that comes for them, by
  ``scrape_names`` and ``scrape_text`` (both pure).
- ``routes``: what the HTTP port answers beside OTLP: ``scrape`` and ``verdict_routes``.
- ``compare_span``: the small span that says in the trace what the pair showed.
- ``decode_content``: captured text out of log events (pure).
- ``decoded``: what one request holds, whichever signal it is of.
- ``pipeline``: all of the above folded, from bytes to pairs and from stored pairs to metrics, without I/O.
- ``keeper``: journal, pipeline and store joined: what is acknowledged survives, what is stored is counted once, and
  what it fails on goes ``aside``. ``identity`` is the name that outlives the process, and the resource that says it;
  ``belongings`` opens what is that name's, and ``recovery`` goes on from its last ``checkpoint`` (pure). ``writer``
  stores in batches, in a thread of its own; ``folds`` makes ledgers of what is settled, from which verdicts are made.
- ``judging``: candidates are watched and judged while the processor runs. ``verdicts`` makes the verdicts,
  ``verdict_routes`` gives them to those who ask, ``verdict_metrics`` to Prometheus, and ``alerts`` to those who do not
  ask: by the log, and by a ``webhook``.
- ``outbox``: a bounded queue with a worker, whose senders are in ``forward`` and ``exporters``.
- ``endpoints``: what an endpoint means, and whether it is ourselves.
- ``destination``: one configured endpoint with the outboxes it asks for; ``destinations``: all of them.
- ``service``: the running processor, by its ``clocks``; ``status`` is what it says of itself.

``pipeline`` and what it folds run on the event loop's thread, so nothing there is locked.
"""
