"""
What ShadowMesh found, drawn for people.

- ``records``: what can be drawn, as frozen records; the caller fills them from spans, metrics or a store;
- ``units``: seconds, tokens and money as short text, one unit per row;
- ``terminal``: the funnel, the comparison table and the costs, for a terminal of 80 columns or more;
- ``status``: what a running process says of itself, by ``interceptor_status`` or ``processor_status``, in the same
  ``status_lines``;
- ``explain``: what a configuration will do, in words, ``explain_policies`` and ``explain_criteria`` among them, with a
  ``forecast`` of its cost;
- ``config_schema``: the JSON Schema of the configuration file;
- ``protocol_check``: what a protocol map reads of captured calls, field by field;
- ``trace_tree``: the legs of one exchange on a common time axis;
- ``verdict_table``: a verdict.

A report is a ``candidate`` for each verdict, which ``gathering`` reads from a store and ``ledger_views`` from a ledger:

- ``report_tables`` draws it for a terminal, ``report_document`` writes it as JSON;
- ``html_page`` makes one file of it, from ``templates`` with ``html_filters``; ``charts`` and ``interval_chart`` draw,
  and ``svg`` turns what they draw into part of the page;
- ``finding_text``, ``candidate_text``, ``circumstances_text``, ``daily_use``, ``word_diff`` and ``wire_text`` are how
  numbers and foreign text are written. Whatever comes from the wire goes through ``wire_text``.

Only ``gathering`` reads and waits; all else is rendering. matplotlib and Jinja are imported by ``svg``, the charts and
``html_page`` alone, where a page is asked for (extra ``report``). It is matplotlib because its SVG needs no script in
the page (plotly's is megabytes), no engine beside it (altair's is a wheel of 33 MB) and no server (pygal's asks one for
its script), and leaves text as text.
"""
