"""Kinds of tagged values from polars: frames and series, as Arrow streams. Imported if the program has polars."""

from io import BytesIO
from typing import Any

import polars as pl

from event_collector.encoding.tagged import CannotTravel, Restorer, Tagger, ValueKind, kinds


def _encode_frame(frame: "pl.DataFrame", tagger: Tagger) -> Any:
    if "Object" in str(frame.dtypes):
        raise CannotTravel("a column of objects has no Arrow type: convert it, or use .to_dict()")
    stream = BytesIO()
    frame.write_ipc_stream(stream)
    return tagger.buffer(stream.getbuffer())


def _decode_frame(stream: Any, _: Restorer) -> "pl.DataFrame":
    return pl.read_ipc_stream(BytesIO(stream))


def _encode_series(series: "pl.Series", tagger: Tagger) -> Any:
    return _encode_frame(series.to_frame(), tagger)


def _decode_series(stream: Any, restorer: Restorer) -> "pl.Series":
    return _decode_frame(stream, restorer).to_series()


kinds.add(ValueKind("polars.frame", _encode_frame, _decode_frame), pl.DataFrame)
kinds.add(ValueKind("polars.series", _encode_series, _decode_series), pl.Series)
