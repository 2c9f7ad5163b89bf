"""Kinds of tagged values from Apache Arrow: tables and record batches. Imported if the program has pyarrow."""

from typing import Any

import pyarrow as pa

from event_collector.encoding.tagged import Restorer, Tagger, ValueKind, kinds


def to_stream(table: Any, tagger: Tagger) -> Any:
    """Return a table or record batch as a stream of Arrow's IPC format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return tagger.buffer(memoryview(sink.getvalue()).cast("B"))


def from_stream(stream: Any) -> Any:
    """Return the table of a stream. Its columns refer to the stream, uncopied."""
    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        return reader.read_all()


def _batch(stream: Any, _: Restorer) -> Any:
    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        return reader.read_next_batch()


kinds.add(ValueKind("pyarrow.table", to_stream, lambda stream, _: from_stream(stream)), pa.Table)
kinds.add(ValueKind("pyarrow.batch", to_stream, _batch), pa.RecordBatch)
