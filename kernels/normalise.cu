// n (N,P) = c (N,P) / m, m = c[place], the largest of each image, or 1 where that is 0; and dc from dn.
// A thread computes one element of n; a block the dc of one image. Reference: _normalise in gland/prior.py.
#include "reduce.cuh"
template <typename T>
__global__ void normalise(const T* __restrict__ c, const long long* __restrict__ place, T* __restrict__ n, int total,
                          int P) {
  GRID_STRIDE(i, total) {
    const T m = c[i / P * P + place[i / P]];
    n[i] = m == 0 ? c[i] : c[i] / m;
  }
}

// dc = dn / m, less sum(dn c / m) / m at the peak, which divides all; m^2 would underflow where a classifier is sure
template <typename T>
__global__ void __launch_bounds__(256) normalise_grad(
    const T* __restrict__ dn, const T* __restrict__ c, const long long* __restrict__ place, T* __restrict__ dc, int P) {
  const int start = blockIdx.x * P, top = int(place[blockIdx.x]);
  const T m = c[start + top] == 0 ? T(1) : c[start + top];
  T sum = 0;
  for (int i = threadIdx.x; i < P; i += blockDim.x) sum += dn[start + i] * (c[start + i] / m);
  sum = block_sum(sum);
  for (int i = threadIdx.x; i < P; i += blockDim.x)
    dc[start + i] = dn[start + i] / m - (i == top && c[start + i] > 0 ? sum / m : T(0));
}
