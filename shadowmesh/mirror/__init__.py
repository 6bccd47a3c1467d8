"""
From a live call's bytes to recorded pairs.

The live side and the mirror side meet at one boundary, the frames; neither can tell what carries them.

Live side: ``live`` owns the gate, the funnel and the credit; a ``tap`` per call turns what passes into frames;
``admission`` does what can wait until a carrier takes them, among it the span of the ``caller`` and the ``choice`` that
stands in a request, for which ``arrivals`` hold back a stream; ``key_watch`` says what sampling keys are like, and
``abort_watch`` what clients have ended by id.
Boundary: ``frames`` (records) and ``codec`` (their bytes: ``codec_calls`` and ``codec_answers``, made of ``parts``),
``carrier`` (what moves them), with ``loop`` and ``thread`` (each with a ``pump``) and ``process``, which has a ``link``
to each worker and its ``worker_process``, keeps account of what that has in ``held``, says a ``stand_in`` for what
cannot be said, and hears its ``answers`` together. ``limits_left`` is what the engines' ``accounts`` say, of an
``account`` per target, which a ``budget_file`` keeps over restarts.
Mirror side: ``engine`` takes the frames and keeps an ``open_call`` for each call; ``targets`` holds the experiments in
force (``judged_experiment``) and their ``channels`` with their ``credentials``, each behind the ``guard`` of its
breaker; ``gate`` judges and changes requests on their way to a target, of which a ``translation`` makes another
protocol's where it speaks one (a ``translated_shadow`` is asked once); ``launch`` starts what ``shadow_call`` and
``shadow_stream`` run, each a ``shadow`` in flight, behind a ``shadow_gate`` where something has to be read first;
``aborting`` ends those whose clients have ended theirs, by the ids that ``identity`` gave them;
``observation`` holds what was seen of a leg, ``occupancy`` how busy its backend was, and ``call_record`` all that a
call left; ``legs`` turns that into legs (of a ``server_address`` and a ``session``), by the ``shares`` of each backend
in an exchange, ``captured`` into their text where that is wanted, ``recorder`` into spans, a few calls at a time
(``gathering``). ``assembly`` puts an engine together, for this process or for a worker.
``capture`` writes live calls to files beside all this, with a live side and a thread of its own: there ``capturing``
takes the engine's place, and the ``capture_files`` of one ``capture_format`` are bounded by ``capture_settings``.
Around both: ``engines`` chooses the carrier and makes what runs behind it; ``publication`` is what the process says of
itself, ``status`` a part of that; ``upkeep`` looks after the ``file_watch`` and the self-check in ``rounds``;
``mirroring`` is all of it together, and ``process_hooks`` end what a program forgets to, and begin anew after a fork.
"""
