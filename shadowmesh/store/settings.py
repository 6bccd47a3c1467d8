"""What a user may set of a store: where it is, and how much it keeps."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from shadowmesh.settings import ByteSize, Seconds, Settings

_SCHEMES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")


def _store_url(url: SecretStr) -> SecretStr:
    # The value stays out of the message: it may hold a password.
    if not url.get_secret_value().startswith(_SCHEMES):
        raise ValueError(
            "not a store's URL: sqlite:///relative/path, sqlite:////absolute/path or postgresql://host/database"
        )
    return url


StoreUrl = Annotated[SecretStr, AfterValidator(_store_url)]
"""A store: ``sqlite:///path`` (four slashes before an absolute path) or ``postgresql://user@host/database``."""


class KeepSettings(Settings):
    """
    How much is kept; what is beyond any of the limits goes, the oldest first.

    Args:
        age: seconds since it was stored.
        rows: rows.
        size: bytes in the database, an estimate. What is freed is used again; the file itself does not shrink.
    """

    age: Seconds | None = None
    rows: Annotated[int, Field(strict=True, gt=0)] | None = None
    size: ByteSize | None = None


class RetentionSettings(Settings):
    """
    What is kept of pairs, of captured content apart from them, and of the ledgers that verdicts are made from.

    A ledger goes when nothing was added to it for ``ledgers`` seconds, whatever became of its pairs. A pair that comes
    again after its row is gone counts twice, so ``pairs.age`` has to be longer than anything before the processor may
    hold spans back: a Collector's queue, a topic's retention. ``null`` for a limit is none.
    """

    pairs: KeepSettings = KeepSettings(age=30 * 86400.0, rows=10_000_000)
    content: KeepSettings = KeepSettings(age=7 * 86400.0, size=4 << 30)
    ledgers: Seconds | None = 90 * 86400.0


class StoreSettings(Settings):
    """
    The store of a processor.

    SQLite is one file for one processor and any number of readers; several processors share a PostgreSQL database (of
    its own, or a schema of its own by ``?options=-csearch_path%3Dname``), whose password may as well stand in
    ``PGPASSWORD`` or ``~/.pgpass``. Without ``url`` it is where the processor keeps what is its own.
    """

    url: StoreUrl | None = None
    retention: RetentionSettings = RetentionSettings()

    @property
    def location(self) -> str:
        """
        The URL, secrets included.

        Raises:
            ValueError: it was not said, nor filled in by whoever knows a default.
        """
        if self.url is None:
            raise ValueError("a store without a URL")
        return self.url.get_secret_value()
