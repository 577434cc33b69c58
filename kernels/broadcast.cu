// y (N,P,C) = scale x (N,C) at each of P positions; a thread computes one element of y.
// Reference: gland/ops/plain.py (broadcast, and global_avg_pool_x with scale 1/P).
template <typename T>
__global__ void broadcast(const T* __restrict__ x, T* __restrict__ y, int n, int P, int C, T scale) {
  GRID_STRIDE(i, n) y[i] = scale * x[i / C / P * C + i % C];
}
