"""
Which calls are mirrored, to whom, and how much (pure: clock and randomness are arguments).

- ``experiment``: the settings of experiments and their targets.
- ``routes``: full method name or wildcard → experiment.
- ``sampling``: one hash position per exchange and experiment; every target's rate is a prefix of it.
- ``limits``: the in-flight cap per target and the byte credit of everything captured, both without a lock.
- ``breaker``: whether a target is worth calling at all.
- ``headers``: what metadata may travel to a shadow.
- ``live_gate``: folds them into one decision, from method, metadata and the last known state of each target.
"""
