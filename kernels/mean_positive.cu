// c (N,P) = the mean over channels of max(g, 0), or of max(g z, 0) if z is given, g and z (N,P,C); and dg, dz from dc.
// A warp computes one element of c, a thread one of dg and dz. Reference: gradient_activation in gland/prior.py.
#include "reduce.cuh"
template <typename T>
__global__ void mean_positive(const T* __restrict__ g, const T* __restrict__ z, T* __restrict__ c, int pixels, int C) {
  const int lane = threadIdx.x % 32;
  WARP_STRIDE(at, pixels) {
    T sum = 0;
    for (int i = lane; i < C; i += 32) {
      const T v = z ? g[at * C + i] * z[at * C + i] : g[at * C + i];
      sum += v <= 0 ? T(0) : v;
    }
    sum = warp_sum(sum);
    if (lane == 0) c[at] = sum / T(C);
  }
}

// dg = dc / C where g > 0; with z: dg = z dc / C, dz = g dc / C where g z > 0
template <typename T>
__global__ void mean_positive_grad(const T* __restrict__ dc, const T* __restrict__ g, const T* __restrict__ z,
                                   T* __restrict__ dg, T* __restrict__ dz, int n, int C) {
  GRID_STRIDE(i, n) {
    const T a = g[i], b = z ? z[i] : T(1), d = a * b > 0 ? dc[i / C] / T(C) : T(0);
    dg[i] = d * b;
    if (z) dz[i] = d * a;
  }
}
