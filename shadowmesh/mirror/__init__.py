"""
From a live call's bytes to recorded pairs.

The live side and the mirror side meet at one boundary, the frames; neither can tell what carries them.

Live side:

- ``live``: decides and admits calls; it owns the gate and the credit, and hears what engines say.
- ``live_figures``: the funnel and all that is known of targets, for metrics and status; ``key_watch`` says what
  sampling keys are like, ``limits_left`` what engines say is left of budgets.
- ``tap``: one per call, which turns what passes into frames.
- ``admission``: what can wait until a carrier takes the frames, among it the span of the ``caller`` and the ``choice``
  that stands in a request, for which ``arrivals`` hold back a stream.
- ``abort_watch``: what clients have ended by id.

Boundary:

- ``frames``: its records; ``codec`` makes bytes of them (``codec_calls`` and ``codec_answers``, made of ``parts``).
- ``carrier``: what moves them; ``loop`` and ``thread`` do it in this process, each with a ``pump``.
- ``process``: does it to workers, over a ``link`` to each ``worker_process``. It keeps account of what a worker has in
  ``held``, says a ``stand_in`` for what cannot be said, and hears its ``answers`` together.

Mirror side:

- ``engine``: takes the frames, and keeps an ``open_call`` for each call; ``assembly`` puts one together, for this
  process or for a worker.
- ``targets``: the experiments in force (``judged_experiment``) and their ``channels`` with their ``credentials``, each
  behind the ``guard`` of its breaker.
- ``gate``: judges and changes requests on their way to a target; ``translation`` makes another protocol's of them.
- ``flights``: starts the shadows of a call, and writes their legs when they land. ``launch`` makes each of them, a
  ``shadow`` that ``shadow_call`` or ``shadow_stream`` runs; it stands behind a ``shadow_gate`` where something has to
  be read first, and is a ``translated_shadow``, a call for each exchange, where its target speaks another protocol.
- ``identity``: the ids of pairs, and those that shadows have of their own; ``aborting`` ends by these the shadows whose
  clients have ended their calls by id.
- ``accounts``: what targets cost, an ``account`` for each, which a ``budget_file`` keeps over restarts.
- ``observation``: what was seen of a leg; ``occupancy``: how busy its backend was; ``call_record``: all a call left.
- ``legs``: makes exchanges and legs of that; ``shares`` say which part of the call is whose, ``seen`` makes one leg,
  with ``digests`` of what was said, and ``server_address``, ``session`` and ``prompt`` say where it was, to what it
  belongs, and which of many prompts it may have been.
- ``captured``: the text of legs, where that is wanted.
- ``recorder``: legs to spans, a few calls at a time (``gathering``).

Beside all this, live calls to files:

- ``capture``: has a live side and a thread of its own; there ``capturing`` takes the engine's place.
- ``capture_files``: the files, of one ``capture_format``, as large as ``capture_settings`` allow.

Around everything:

- ``engines``: chooses the carrier and makes what runs behind it.
- ``publication``: what the process says of itself; ``status`` is a part of that.
- ``upkeep``: looks after the ``file_watch`` and the self-check, in ``rounds``.
- ``mirroring``: all of it together; ``process_hooks`` end what a program forgets to, and begin anew after a fork.
"""
