"""Documents as Apache Parquet, for those who compute with them; the schema's metadata name the shape."""

from __future__ import annotations

from typing import IO, Any

from shadowmesh.errors import StartError
from shadowmesh.store.document import CONTENT, PAIR, SCHEMA, Dialect, Key

_METADATA_KEY = "shadowmesh.schema"
# Enough rows in a group to compress well, few enough to hold.
_ROW_GROUP = 20_000


class ParquetFile:
    """
    One Parquet file with the keys of a document as columns, what is below them as structs.

    Args:
        with_content: whether there are columns for captured text.

    Raises:
        StartError: pyarrow is not installed.
    """

    dialect: Dialect

    def __init__(self, sink: IO[bytes], *, with_content: bool) -> None:
        try:
            # It has no types.
            import pyarrow as pa  # type: ignore[import-untyped]
            from pyarrow import parquet
        except ImportError as error:
            raise StartError("Parquet needs pyarrow: pip install 'shadowmesh[parquet]'") from error
        self.dialect = Dialect(time=int, json=str)
        self._arrow = pa
        keys = (*PAIR, CONTENT) if with_content else PAIR
        self._schema = pa.schema(_fields(pa, keys), metadata={_METADATA_KEY: SCHEMA})
        self._writer = parquet.ParquetWriter(sink, self._schema, compression="zstd")
        self._batches: list[Any] = []
        self._rows = 0

    def write(self, documents: list[dict[str, Any]]) -> None:
        """Write some rows; they are in the file when a group is full."""
        self._batches.append(self._arrow.RecordBatch.from_pylist(documents, schema=self._schema))
        self._rows += len(documents)
        if self._rows >= _ROW_GROUP:
            self._flush()

    def finish(self) -> None:
        """Write the last group, and the footer without which there is no file."""
        if self._batches:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_batches(self._batches), row_group_size=self._rows)
        self._batches, self._rows = [], 0


def _fields(arrow: Any, keys: tuple[Key, ...]) -> list[Any]:
    kinds = {
        "text": arrow.string(),
        "texts": arrow.list_(arrow.string()),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "bool": arrow.bool_(),
        "time": arrow.timestamp("ns", tz="UTC"),
        "json": arrow.string(),
    }
    return [
        arrow.field(name, kinds[of] if isinstance(of, str) else arrow.struct(_fields(arrow, of))) for name, of in keys
    ]
