// Max-pooling: y (N,OH,OW,C) = the largest of each window of x (N,H,W,C), at argmax = kh * KW + kw; and dx, and ty.
// A thread computes one element of y, of dx or of ty. Reference: gland/ops/plain.py.
// instances: {max_pool, max_pool_x, max_pool_t}<{float, double}, {unsigned char, int}>
#include "pool.cuh"
template <typename T, typename Place>
__global__ void max_pool(const T* __restrict__ x, T* __restrict__ y, Place* __restrict__ argmax, int n, Pool s) {
  GRID_STRIDE(at, n) {
    const Element e(at, s.OH, s.OW, s.C);
    T best = 0;
    int winner = -1;
    for (int kh = 0; kh < s.KH; ++kh) {
      const int h = e.i * s.stride - s.pad + kh;
      if (h < 0 || h >= s.H) continue;
      for (int kw = 0; kw < s.KW; ++kw) {
        const int w = e.j * s.stride - s.pad + kw;
        if (w < 0 || w >= s.W) continue;
        const T v = x[((e.image * s.H + h) * s.W + w) * s.C + e.c];
        if (winner < 0 || v > best || v != v) best = v, winner = kh * s.KW + kw;  // NaN is not itself: it comes out
      }
    }
    y[at] = best;
    argmax[at] = Place(winner);
  }
}

// gather: a pixel adds up the windows that it won
template <typename T, typename Place>
__global__ void max_pool_x(const T* __restrict__ dy, const Place* __restrict__ argmax, T* __restrict__ dx, int n,
                           Pool s) {
  GRID_STRIDE(at, n) {
    const Element e(at, s.H, s.W, s.C);
    const Span rows(e.i, s.KH, s.OH, s), columns(e.j, s.KW, s.OW, s);
    T sum = 0;
    for (int oh = rows.first; oh <= rows.last; ++oh)
      for (int ow = columns.first; ow <= columns.last; ++ow) {
        const int window = ((e.image * s.OH + oh) * s.OW + ow) * s.C + e.c;
        const int place = (e.i + s.pad - oh * s.stride) * s.KW + e.j + s.pad - ow * s.stride;
        if (int(argmax[window]) == place) sum += dy[window];
      }
    dx[at] = sum;
  }
}

template <typename T, typename Place>
__global__ void max_pool_t(const T* __restrict__ tx, const Place* __restrict__ argmax, T* __restrict__ ty, int n,
                           Pool s) {
  GRID_STRIDE(at, n) {
    const Element e(at, s.OH, s.OW, s.C);
    const int place = argmax[at];
    const int h = e.i * s.stride - s.pad + place / s.KW, w = e.j * s.stride - s.pad + place % s.KW;
    ty[at] = tx[((e.image * s.H + h) * s.W + w) * s.C + e.c];
  }
}
