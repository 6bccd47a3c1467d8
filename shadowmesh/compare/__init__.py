"""
A pair of legs becomes a comparison here; nothing else happens.

- ``comparison``: the outcome of a pair, what changed from live to shadow, and which checks match.
- ``pace``: how fast the tokens of a stream came.
- ``divergence``: where two outputs begin to differ.
"""
