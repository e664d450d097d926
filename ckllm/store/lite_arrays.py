"""Milvus Lite's Parquet files, Arrow columns and the values of conditions, without pandas.

Arrow's `read_table`, `to_numpy`, `array` and `scalar` import pandas wherever it is installed, a third of a second and 44 MB, even
for plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from milvus_lite.engine import compaction
from milvus_lite.search import filter as lite_filter
from milvus_lite.search.filter.eval import arrow_backend
from milvus_lite.storage import delta_index, segment
from numpy.typing import NDArray
from pyarrow.parquet import ParquetFile

_lite_vectors = segment._extract_vector_array


def install() -> None:
    """Have Lite read with these functions from now on, in this process."""
    for module, name in ((compaction, "read_data_file"), (segment, "read_data_file"), (delta_index, "read_delta_file")):
        setattr(module, name, table_in)
    segment._extract_vector_array = vectors_in
    lite_filter.evaluate_mask = evaluate_mask
    arrow_backend.pa = SimpleNamespace(**{**vars(pa), "array": array_of, "scalar": scalar_of})
    arrow_backend.pc = SimpleNamespace(**{**vars(pc), "fill_null": filled})


def table_in(path: str) -> Any:
    with ParquetFile(path) as file:
        return file.read()


def vectors_in(column: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """A column of lists of equal length as an array of shape (rows, length), and which rows are there: None for all."""
    plain = pa.types.is_fixed_size_list(column.type) and column.type.value_type == pa.float32()
    if not plain or column.null_count or not len(column):
        found: tuple[NDArray[np.float32], NDArray[np.bool_] | None] = _lite_vectors(column)
        return found
    return _numbers(_whole(column).flatten(), np.float32).reshape(len(column), -1), None


def evaluate_mask(compiled: Any, table: Any) -> NDArray[np.bool_]:
    """Which rows of a table meet a condition; those of which it cannot be told do not."""
    met = filled(_whole(lite_filter.evaluate(compiled, table)), False)
    return _numbers(met.cast(pa.uint8()), np.uint8).astype(bool)


def array_of(values: Sequence[Any], type: Any = None) -> Any:
    """`pa.array` of a list without nulls: text, numbers or truth values; of anything else it is Arrow's own."""
    kind = type or _kind(values)
    if kind == pa.string():
        encoded = [value.encode() for value in values]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])
    if kind == pa.bool_():
        bits = np.packbits(np.array(values, bool), bitorder="little")
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(bits)])
    if kind in (pa.int64(), pa.float64()):
        numbers = np.array(values, np.int64 if kind == pa.int64() else np.float64)
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(numbers)])
    return pa.array(values, kind)


def scalar_of(value: Any, type: Any = None) -> Any:
    """`pa.scalar`."""
    return array_of([value], type)[0]


def filled(values: Any, value: Any) -> Any:
    """`pc.fill_null`."""
    return pc.fill_null(values, scalar_of(value, values.type))


def _kind(values: Sequence[Any]) -> Any:
    """The Arrow type of a list; None where it is for Arrow to say."""
    kinds = {type(value) for value in values}
    if len(kinds) == 1:
        return {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}.get(kinds.pop())
    return pa.float64() if kinds == {int, float} else None


def _whole(column: Any) -> Any:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _numbers(array: Any, kind: type[np.number[Any]]) -> NDArray[Any]:
    """The values of an Arrow array of numbers without nulls; not copied, so not to be written to."""
    if not len(array):
        return np.empty(0, kind)
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * np.dtype(kind).itemsize)
