// Average pooling: y (N,OH,OW,C) = the mean of each window of x (N,H,W,C), padding counted as zeros; and dx from dy.
// A thread computes one element of y or of dx. Reference: gland/ops/plain.py.
#include "pool.cuh"
template <typename T> __global__ void avg_pool(const T* __restrict__ x, T* __restrict__ y, int n, Pool s) {
  GRID_STRIDE(at, n) {
    const Element e(at, s.OH, s.OW, s.C);
    const int h0 = e.i * s.stride - s.pad, w0 = e.j * s.stride - s.pad;
    T sum = 0;
    for (int h = max(h0, 0); h < min(h0 + s.KH, s.H); ++h)
      for (int w = max(w0, 0); w < min(w0 + s.KW, s.W); ++w) sum += x[((e.image * s.H + h) * s.W + w) * s.C + e.c];
    y[at] = sum / T(s.KH * s.KW);
  }
}

template <typename T> __global__ void avg_pool_x(const T* __restrict__ dy, T* __restrict__ dx, int n, Pool s) {
  GRID_STRIDE(at, n) {
    const Element e(at, s.H, s.W, s.C);
    const Span rows(e.i, s.KH, s.OH, s), columns(e.j, s.KW, s.OW, s);
    T sum = 0;
    for (int oh = rows.first; oh <= rows.last; ++oh)
      for (int ow = columns.first; ow <= columns.last; ++ow) sum += dy[((e.image * s.OH + oh) * s.OW + ow) * s.C + e.c];
    dx[at] = sum / T(s.KH * s.KW);
  }
}
