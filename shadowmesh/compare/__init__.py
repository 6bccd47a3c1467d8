"""
A pair of legs becomes a comparison here; nothing else happens.

- ``comparison``: the outcome of a pair, what changed from live to shadow, and which checks match.
- ``pace``: how fast the tokens of a stream came.
- ``texts``: what captured outputs show: ``divergence``, where they begin to differ; ``similarity``, by their words; and
  ``guards`` against the small changes that a similarity does not see.
"""
