"""
From a live call's bytes to recorded pairs.

The live side and the mirror side meet at one boundary, the frames; neither can tell what carries them.

Live side: ``live`` owns the gate, the funnel and the credit; a ``tap`` per call turns what passes into frames;
``admission`` does what can wait until a carrier takes them, among it the ``choice`` that stands in a request, for which
``arrivals`` hold back a stream; ``key_watch`` says what sampling keys are like.
Boundary: ``frames`` (records) and ``codec`` (their bytes: ``codec_calls`` and ``codec_answers``, made of ``parts``),
``carrier`` (what moves them), with ``loop`` and ``thread`` (each with a ``pump``) and ``process``, which has a ``link``
to each worker and its ``worker_process``, keeps account of what that has in ``held``, says a ``stand_in`` for what
cannot be said, and hears its ``answers`` together. ``limits_left`` is what the engines' ``accounts`` say.
Mirror side: ``engine`` takes the frames and keeps an ``open_call`` for each call; ``targets`` holds the experiments in
force (``judged_experiment``) and their ``channels`` with their ``credentials``, each behind the ``guard`` of its
breaker; ``gate`` judges and changes requests on their way to a target; ``launch`` starts what ``shadow_call`` and
``shadow_stream`` run, behind a ``shadow_gate`` where something has to be read first; ``observation`` holds what was
seen of a leg, ``legs`` turns it into legs (of a ``server_address``), ``captured`` into their text where that is wanted,
``recorder`` into spans, a few calls at a time (``gathering``). ``assembly`` puts an engine together, for this process
or for a worker.
``capturing`` takes the engine's place where calls are only written down: ``capture_files`` of one ``capture_format``.
Around both: ``engines`` chooses the carrier and makes what runs behind it; ``publication`` is what the process says of
itself, ``status`` a part of that; ``upkeep`` looks after the ``file_watch`` and the self-check in ``rounds``;
``process_hooks`` end what a program forgets to, and begin anew after a fork.
"""
