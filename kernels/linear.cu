// The fully connected layer: y (N,O) = x (N,D) w^T + b, w (O,D), b (O) if given; dx from dy, and dw from x and dy.
// A warp computes one element of y, a thread one of dx or of dw. Reference: gland/ops/plain.py.
#include "reduce.cuh"
template <typename T>
__global__ void linear(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
                       int N, int D, int O) {
  const int lane = threadIdx.x % 32;
  WARP_STRIDE(at, N * O) {
    const T *row = x + at / O * D, *column = w + at % O * D;
    T sum = 0;
    for (int d = lane; d < D; d += 32) sum += row[d] * column[d];
    sum = warp_sum(sum);
    if (lane == 0) y[at] = sum + (b ? b[at % O] : T(0));
  }
}

template <typename T>
__global__ void linear_x(const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, int N, int D, int O) {
  GRID_STRIDE(at, N * D) {
    T sum = 0;
    for (int o = 0; o < O; ++o) sum += dy[at / D * O + o] * w[o * D + at % D];
    dx[at] = sum;
  }
}

template <typename T>
__global__ void linear_w(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dw, int N, int D, int O) {
  GRID_STRIDE(at, O * D) {
    T sum = 0;
    for (int n = 0; n < N; ++n) sum += dy[n * O + at / D] * x[n * D + at % D];
    dw[at] = sum;
  }
}
