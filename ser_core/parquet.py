"""Reads a Parquet file that comes from outside, in another process with bounded memory (``ser_core.workers``).

A file of a few kilobytes can unpack to any size (one long cell, repeated by its dictionary, or a page of zeros), and
Arrow's reader is native code; whatever happens to it, this process goes on.
"""

import io
from typing import TYPE_CHECKING

from ser_core import workers

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 300_000_000
LIMIT_S = 60
NOT_PARQUET = "The file is not a readable Parquet table; write it again, or give CSV."
TOO_LARGE = "The table unpacks to more than can be read; give a part of it."


def read_parquet(data: bytes, most_rows: int, most_columns: int) -> "pd.DataFrame":
    """Return the table of a Parquet file without its index.

    Args:
        data: the file.
        most_rows: how many rows are read at most.
        most_columns: how many columns.

    Raises:
        ValueError: with a sentence that says what is wrong and what to do.
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        found = workers.DECODERS.ask(LIMIT_S, stream, data, most_rows, most_columns)
    except workers.LateError:
        raise ValueError(TOO_LARGE) from None
    except workers.EndedError:
        raise ValueError(NOT_PARQUET) from None
    try:
        frame: pd.DataFrame = pa.ipc.open_stream(found).read_all().to_pandas(ignore_metadata=True)
    # Such as dates outside what pandas holds.
    except pa.ArrowException as fault:
        raise ValueError(NOT_PARQUET) from fault
    return frame


def stream(data: bytes, most_rows: int, most_columns: int) -> bytes:
    """Return the table of a Parquet file as Arrow's stream.

    Raises:
        ValueError: as ``read_parquet``.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        about = file.metadata
        if about.num_rows > most_rows or about.num_columns > most_columns:
            raise ValueError(
                f"The table has {about.num_rows:,} rows and {about.num_columns} columns; at most {most_rows:,} and "
                f"{most_columns} can be read."
            )
        if sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups)) > MOST_BYTES:
            raise ValueError(TOO_LARGE)
        parts, size = [], 0
        for part in file.iter_batches(batch_size=1 << 12, use_threads=False):
            # Written out here, where memory is bounded: whoever compares words writes them out anyway.
            plain = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in part.columns]
            parts.append(pa.Table.from_arrays(plain, names=part.schema.names))
            size += parts[-1].nbytes
            if size > MOST_BYTES:
                raise ValueError(TOO_LARGE)
        table = pa.concat_tables(parts) if parts else file.schema_arrow.empty_table()
        table.validate(full=True)  # texts that are no UTF-8, and places that lie outside
        out = io.BytesIO()
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    except (MemoryError, pa.ArrowMemoryError, pa.ArrowCapacityError):
        raise ValueError(TOO_LARGE) from None
    except (pa.ArrowException, OSError) as fault:
        raise ValueError(NOT_PARQUET) from fault
    return out.getvalue()
