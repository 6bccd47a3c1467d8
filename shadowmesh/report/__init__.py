"""
What ShadowMesh found, drawn for people.

- ``records``: what can be drawn, as frozen records; the caller fills them from spans, metrics or a store;
- ``units``: seconds, tokens and money as short text, one unit per row;
- ``terminal``: the funnel, the comparison table and the costs, for a terminal of 80 columns or more;
- ``status``: what a running interceptor or processor says of itself;
- ``explain``: what a configuration will do, in words, ``explain_policies`` among them, with a ``forecast`` of its cost;
- ``config_schema``: the JSON Schema of the configuration file;
- ``trace_tree``: the legs of one exchange on a common time axis.

Pure rendering: nothing here reads, waits or prints.
"""
