"""Into what pieces matrix products are cut.

Small products are quicker than large ones: OpenBLAS's AVX-512 build takes up to a million scalar products straight from where
they lie, and packs both factors first beyond it, which costs a fifth of the time, and two thirds where one factor is large and
the other has few rows. Elsewhere every product is packed, and nothing is cut.
"""

import functools

from threadpoolctl import threadpool_info

FEWEST_ROWS = 8  # of a matrix product; with fewer, cutting it gains nothing


@functools.cache
def small_product() -> int:
    """Scalar products M N K up to which this machine's BLAS needs no packing; 0 where it always packs."""
    return 1_000_000 if any(info.get("architecture") in _UNPACKED for info in threadpool_info()) else 0


_UNPACKED = ("SkylakeX", "Cooperlake", "SapphireRapids")  # OpenBLAS: small_matrix_permit in kernel/x86_64


@functools.lru_cache(1024)
def rows_at_once(rows: int, products: int) -> int:
    """Into groups of how many a matrix product of `rows` rows is cut, each row `products` scalar products: a divisor."""
    groups = -(-rows * products // max(1, small_product()))
    while groups * FEWEST_ROWS <= rows:
        if rows % groups == 0:
            return rows // groups
        groups += 1
    return rows


def pixels_at_once(pixels: int, products: int) -> int:
    """Into pieces of how many a sum over pixels is cut, each pixel `products` scalar products."""
    return min(pixels, max(FEWEST_ROWS, small_product() // products)) if small_product() else pixels
