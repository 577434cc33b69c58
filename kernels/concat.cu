// A piece (rows,c) copied into the channels of the whole (rows,C) from `start` on; and, for the adjoint, out of them.
// A thread copies one element. Reference: gland/ops/plain.py.
template <typename T>
__global__ void concat(const T* __restrict__ piece, T* __restrict__ whole, int n, int c, int C, int start) {
  GRID_STRIDE(i, n) whole[i / c * C + start + i % c] = piece[i];
}

template <typename T>
__global__ void split(const T* __restrict__ whole, T* __restrict__ piece, int n, int c, int C, int start) {
  GRID_STRIDE(i, n) piece[i] = whole[i / c * C + start + i % c];
}
