"""
Pairs that outlive the process: SQLite or PostgreSQL, through SQLAlchemy Core.

- ``settings``: what a user may set; ``records``: what goes in and comes out.
- ``store``: the store of one processor, which stores by ``writer`` (insert or nothing, and what of it is new), keeps
  its checkpoint, and forgets by ``retention``.
- ``reader``: reading beside the writer, a page at a time: for ledgers, reports and files.
- ``tables``: the tables; ``traits``: what legs have in common, once each; ``rows``: records to rows and back.
- ``database``: transactions and errors (``failures``), on a ``backend``: ``sqlite`` or ``postgresql``.
- ``schema``: the version of the tables, and Alembic's ``migrations`` that bring it up to date.
- ``document``: a pair as a document of a documented shape, which ``export`` writes to files; ``parquet`` is one kind.

**Exactly once.** A pair is one row for (experiment, pair id, target): whoever comes second finds it taken, and only
what was newly stored is counted. Each processor numbers its rows and stores the number with them, so that after
``kill -9`` the rows beyond its checkpoint are those its metrics lack. **What is durable when:** a commit survives the
process; it survives a power cut only once a checkpoint was saved, before which the processor keeps its journal.

SQLAlchemy, Alembic and the drivers are imported in this room only, and the room only where a store is opened. All of it
blocks.
"""
