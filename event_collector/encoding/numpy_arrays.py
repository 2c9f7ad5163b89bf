"""Kinds of tagged values from NumPy: arrays of every type but object, and scalars. Imported if the program has it."""

import ast
from functools import lru_cache
from typing import Any, get_args

import numpy as np
from numpy.lib import format as npy

from event_collector.encoding.buffers import Buffer
from event_collector.encoding.tagged import CannotTravel, Restorer, Tagger, ValueKind, kinds

_STRINGS = getattr(np.dtypes, "StringDType", None)  # NumPy 2

PYTHON_NUMBERS = (bool, int, float, complex, str, bytes)


@lru_cache(maxsize=256)  # both take longer than the copy of a small array
def _layout_of(dtype: "np.dtype[Any]") -> str:
    """Return what the .npy format writes of a type. Raise TypeError if that does not give the type back."""
    if dtype.hasobject:
        raise CannotTravel("an array of objects has no bytes to send: use .tolist(), or a dtype other than object")
    layout = repr(npy.dtype_to_descr(dtype))
    if _dtype_of(layout) != dtype:
        raise CannotTravel(f"arrays of {dtype!r} would come back as another type: use .astype() or .tolist()")
    return layout


@lru_cache(maxsize=256)
def _dtype_of(layout: str) -> "np.dtype[Any]":
    found: np.dtype[Any] = npy.descr_to_dtype(ast.literal_eval(layout))
    return found


def _raw(array: "np.ndarray[Any, Any]") -> Buffer:
    """Return the bytes of a contiguous array, uncopied."""
    if not array.nbytes:
        return b""
    return array.reshape(-1).view(np.uint8).data


def _encode_array(array: "np.ndarray[Any, Any]", tagger: Tagger) -> Any:
    if _STRINGS is not None and isinstance(array.dtype, _STRINGS):
        if array.dtype != _STRINGS():
            raise CannotTravel(f"arrays of {array.dtype!r} would come back as another type: use .tolist()")
        return None, array.shape, "C", array.reshape(-1).tolist()
    layout = _layout_of(array.dtype)
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return layout, array.shape, "F", tagger.buffer(_raw(array.T))
    if not array.flags.c_contiguous:
        array = array.copy(order="C")
    return layout, array.shape, "C", tagger.buffer(_raw(array))


def _decode_array(content: Any, restorer: Restorer) -> "np.ndarray[Any, Any]":
    layout, shape, order, data = content
    if layout is None:
        array: np.ndarray[Any, Any] = np.array(data, dtype=_STRINGS()).reshape(shape)  # type: ignore[misc]
    else:
        array = np.ndarray(tuple(shape), _dtype_of(layout), buffer=data if len(data) else None, order=order)
    if restorer.writable:
        return array if array.flags.writeable else array.copy(order="K")
    array.setflags(write=False)
    return array


def _as_array(kind: Any, value: Any) -> Any:
    """Check the element type of `NDArray[np.float64]`."""
    wanted = _element_type(kind) if isinstance(value, np.ndarray) else None
    if wanted is not None and not issubclass(value.dtype.type, wanted):
        raise TypeError(f"expected an array of {wanted.__name__}, got one of {value.dtype}")
    return value


def _element_type(kind: Any) -> "type[np.generic] | None":
    """Return the element type that an annotation such as `ndarray[shape, dtype[float64]]` names, if it names one."""
    for part in get_args(kind)[1:]:
        for element in get_args(part):
            if isinstance(element, type) and issubclass(element, np.generic):
                return element
    return None


def _encode_scalar(scalar: "np.generic[Any]", _: Tagger) -> Any:
    array = np.asarray(scalar)
    return _layout_of(array.dtype), bytes(_raw(array))


def _decode_scalar(content: Any, restorer: Restorer) -> Any:
    layout, data = content
    dtype = _dtype_of(layout)
    scalar = np.ndarray((), dtype, buffer=data)[()] if dtype.itemsize else dtype.type()
    if restorer.plain_scalars and isinstance(found := scalar.item(), PYTHON_NUMBERS):
        return found
    return scalar


def _as_scalar(kind: Any, value: Any) -> Any:
    """Return a number of Python as the scalar that is annotated."""
    return kind(value) if isinstance(value, PYTHON_NUMBERS) and kind is not np.generic else value


kinds.add(ValueKind("numpy.array", _encode_array, _decode_array, _as_array), np.ndarray)
kinds.add(ValueKind("numpy.scalar", _encode_scalar, _decode_scalar, _as_scalar), family=np.generic)
