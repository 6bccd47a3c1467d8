"""
Pairs that outlive the process: SQLite or PostgreSQL, through SQLAlchemy Core.

- ``settings``: what a user may set; ``records``: what goes in and comes out.
- ``store``: the store of one processor, which stores by ``writer`` (insert or nothing, and what of it is new), keeps
  its checkpoint, and forgets by ``retention``.
- ``reader``: reading beside the writer, a page at a time: for reports and files.
- ``columns``: rows as columns for a verdict, with ``states`` of legs and ``text_columns``; ``unfolded``: the rows that
  are in no ledger yet; ``ledgers``: those in the database; ``folding`` adds the ones to the others, and ``evidence`` is
  both together, as a verdict is made from it. ``insights``: single pairs for a report.
- ``watches``: change detectors, which folds feed; ``alerts``: the answers somebody was told of, and what is on its way.
- ``tables``: the tables; ``traits``: what legs have in common, once each; ``rows``: records to rows and back.
- ``database``: transactions and errors (``failures``), on a ``backend``: ``sqlite`` or ``postgresql``.
- ``schema``: the version of the tables, and Alembic's ``migrations`` that bring it up to date.
- ``texts``: what captured texts show, compared once their pair is settled and kept without content; ``late_texts``:
  how many came too late for that. ``samplings``: how calls were drawn, as their senders have counted it.
- ``document``: a pair as a document of a documented shape, which ``export`` writes to files; ``parquet`` is one kind.

**Exactly once.** A pair is one row for (experiment, pair id, target): whoever comes second finds it taken, and only
what was newly stored is counted. Each processor numbers its rows and stores the number with them, so that after
``kill -9`` the rows beyond its checkpoint are those its metrics lack. **What is durable when:** a commit survives the
process; it survives a power cut only once a checkpoint was saved, before which the processor keeps its journal.

**Ledgers.** A processor folds rows into ledgers in the order they were dispatched, behind its watermark, and one
transaction holds the ledgers and how far they go: each row is in them once, whoever dies. A reader adds up the ledgers
of all processors and the rows behind them, so that it never depends on when somebody folded.

SQLAlchemy, Alembic and the drivers are imported in this room only, and the room only where a store is opened. All of it
blocks.
"""
