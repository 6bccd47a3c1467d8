"""
A processor of its own that only stores: ``python -m support.store_writer URL NAME``, killed whenever somebody likes.

It stores pairs without end, saves a checkpoint now and then whose state is how many it has counted, and says after each
batch how many pairs it was told are new.
"""

from __future__ import annotations

import sys

from support.legs import T0
from support.stored_pairs import matched

from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store

BATCH = 20
BATCHES_PER_CHECKPOINT = 4


def batch_ids(batch: int) -> list[str]:
    """Return the pairs of a batch; one of them was in the batch before too."""
    return [f"p{n:06d}" for n in range(batch * BATCH - 1 if batch else 0, (batch + 1) * BATCH)]


def main(url: str, name: str) -> None:
    counted = 0
    with Store.open(StoreSettings.model_validate({"url": url}), name=name, instance="i", now_ns=T0) as store:
        for batch in range(1_000_000):
            counted += sum(store.add([matched(pair_id) for pair_id in batch_ids(batch)], now_ns=T0 + batch).new)
            if batch % BATCHES_PER_CHECKPOINT == 0:
                store.save_checkpoint(str(counted).encode(), number=store.number, position=batch, now_ns=T0 + batch)
            sys.stdout.write(f"{batch} {counted}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
