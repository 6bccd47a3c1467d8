"""
Which calls are mirrored, to whom, and how much (pure: clock and randomness are arguments).

- ``experiment``: the settings of experiments and their targets.
- ``routes``: full method name or wildcard → experiment; ``conditions``: which of those calls it takes.
- ``sampling``: one hash position per exchange and experiment; every target's rate is a prefix of it. ``skew``: whether
  few sampling keys make up most of the calls. ``draws``: how many calls were drawn and how many taken.
- ``retries``: one shadow for all attempts of one call.
- ``limits``: the caps on a target's calls, at once and per second, and the byte credit of everything captured, all
  without a lock.
- ``breaker``: whether a target is worth calling at all.
- ``budget``: what a target may cost, by the ``meter`` of its money and its tokens; ``timebox``: when it begins and
  ends; ``warm_up``: which of its first pairs are no evidence.
- ``presets``: defaults for a whole experiment; ``self_check``: whether it measures what it means to.
- ``headers``: what metadata may travel to a shadow; ``credentials``: what a target is called with instead; ``marker``:
  when a call is a shadow itself.
- ``effects``: what calls may do in the world; ``transform``: what is changed in them; ``translation``: in which
  protocol they are asked again. The mirror gate applies them.
- ``plan``: an experiment compiled for the live path, with what is known of each target (``target_state``).
- ``live_gate``: folds them into one decision, from method, metadata and plans. ``notice``: a word given once to whoever
  has to know. ``funnel``: the lines that every decision is counted in.
- ``harm``: whether mirroring harms live calls, and then it stops, by ``harm_settings``. ``slots`` in which it is on and
  off are held against each other, by their ``slot_rank`` and a ``slow_limit``; ``harm_figures`` is what it looks at.
"""
