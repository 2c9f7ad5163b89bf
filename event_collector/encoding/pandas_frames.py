"""Kinds of tagged values from pandas: frames and series, as Arrow tables. Imported if the program has pandas."""

from typing import Any

import numpy as np
import pandas as pd

from event_collector.encoding.exact import exact
from event_collector.encoding.tagged import CannotTravel, Restorer, Tagger, ValueKind, kinds

_ANONYMOUS = "0"
"""The column of a series. Its name may be anything, and travels beside it."""


def _encode_frame(frame: "pd.DataFrame", tagger: Tagger) -> Any:
    pa, to_stream, _ = _arrow()
    try:
        # A table without rows has no batches, and with them no categories.
        table = (pa.Table if len(frame) else pa.RecordBatch).from_pandas(frame)
    except pa.ArrowException as exc:
        raise CannotTravel(f"Arrow does not have the values of a column: {exc}: convert the column") from exc
    _check_types(frame, table)
    return to_stream(table, tagger), _frequency_of(frame.index)


def _decode_frame(content: Any, _: Restorer) -> "pd.DataFrame":
    stream, frequency = content
    frame: pd.DataFrame = _arrow()[2](stream).to_pandas()
    if frequency is None:
        return frame
    return frame.set_axis(type(frame.index)(frame.index, freq=frequency))


def _encode_series(series: "pd.Series[Any]", tagger: Tagger) -> Any:
    return exact(series.name), _encode_frame(series.to_frame(_ANONYMOUS), tagger)


def _decode_series(content: Any, restorer: Restorer) -> "pd.Series[Any]":
    name, frame = content
    return _decode_frame(frame, restorer)[_ANONYMOUS].rename(name)


def _check_types(frame: "pd.DataFrame", table: Any) -> None:
    """Raise CannotTravel if a column would come back as another type."""
    types = table.schema.empty_table().to_pandas().dtypes
    for place, (before, after) in enumerate(zip(frame.dtypes, types, strict=True)):
        held = table.schema.field(place).type
        if isinstance(before, pd.CategoricalDtype) and isinstance(after, pd.CategoricalDtype):
            continue  # the categories are in the columns, and the empty table has none
        if before != after or (before == np.dtype(object) and not _keeps_objects(held)):
            raise CannotTravel(
                f"the column {frame.columns[place]!r} of type {before} would come back as {held}: convert it, "
                f"for example by .convert_dtypes()"
            )


def _keeps_objects(held: Any) -> bool:
    """Return whether a column of objects comes back as the same objects from an Arrow type."""
    kinds_of_arrow = _arrow()[0].types
    return any(
        check(held)
        for check in (
            kinds_of_arrow.is_string,
            kinds_of_arrow.is_large_string,
            kinds_of_arrow.is_binary,
            kinds_of_arrow.is_decimal,
            kinds_of_arrow.is_date,
            kinds_of_arrow.is_time,
            kinds_of_arrow.is_boolean,
            kinds_of_arrow.is_null,
        )
    )


def _frequency_of(index: Any) -> str | None:
    """Return the frequency of an index of times, which Arrow does not keep."""
    is_kept_aside = isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex))
    return index.freqstr if is_kept_aside else None


def _arrow() -> Any:
    """Return pyarrow, and what writes and reads a stream. Raises CannotTravel if it is missing."""
    try:
        import pyarrow as pa

        from event_collector.encoding.arrow_tables import from_stream, to_stream
    except ImportError as exc:
        raise CannotTravel("frames of pandas travel as Arrow tables: pip install pyarrow") from exc
    return pa, to_stream, from_stream


kinds.add(ValueKind("pandas.frame", _encode_frame, _decode_frame), pd.DataFrame)
kinds.add(ValueKind("pandas.series", _encode_series, _decode_series), pd.Series)
