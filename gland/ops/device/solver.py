"""The fused twins of gland/training/solver.py, where the formulas stand."""

from typing import Any

import numpy as np

from gland.ops.device.launch import Dim, blocks, kernel
from gland.ops.device.memory import Array, empty, like

_BLOCKS = 256


def clip_factor(gradient: Array, largest: float) -> Array:
    parts = min(_BLOCKS, blocks(gradient.size))
    partial, factor = empty((parts,), gradient, np.float64), empty((), gradient)
    kernel("clip_factor", "squares", gradient.dtype)(parts, 256, gradient, partial, gradient.size)
    kernel("clip_factor", "clip_factor", gradient.dtype)(1, 256, partial, factor, parts, largest)
    return factor


def straighten(g: Array, matrices: list[Any], polynomial: tuple[float, float, float]) -> Array:
    a, b, c = polynomial
    sides, lengths = ([f(k.rows, k.columns) for k in matrices] for f in (min, max))
    tiles, count = -(-max(sides, default=0) // 32), len(matrices)
    table = _table(tuple(matrices), g)
    square, other, r, q, next_q = (empty((sum(n * n for n in sides),), g) for _ in range(5))
    step = empty(g.shape, g)

    def run(name: str, grid: Dim, *args: Any) -> None:
        kernel("muon", name, g.dtype)(grid, (32, 8), *args)

    run("gram", (tiles, tiles, count), g, table, square)
    kernel("muon", "begin", g.dtype)(count, 256, table, square, q)
    for _ in range(5):
        run("turn", (tiles, tiles, count), square, None, square, table, r, None, count, b, c)
        run("turn", (tiles, tiles, 2 * count), q, square, r, table, next_q, other, count, a, 1.0)
        run("turn", (tiles, tiles, count), other, None, r, table, square, None, count, a, 1.0)
        q, next_q = next_q, q
    run("finish", (tiles, -(-max(lengths, default=0) // 32), count), g, q, table, step)
    return step


_tables: dict[tuple, Array] = {}


def _table(matrices: tuple[Any, ...], g: Array) -> Array:
    """kernels/muon.cu's table, made once: a recorded step must not copy from the host."""
    if (matrices, type(g)) not in _tables:
        squares = np.cumsum([0, *(min(k.rows, k.columns) ** 2 for k in matrices)])[:-1]
        rows = [(k.start, k.rows, k.columns, at) for k, at in zip(matrices, squares, strict=True)]
        _tables[matrices, type(g)] = like(np.array(rows, np.int32).reshape(-1, 4), g)
    return _tables[matrices, type(g)]
