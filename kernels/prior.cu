// From Eq. (3)'s derivatives g (N,P,C) at a pooling layer z to its map n (N,P), and back.
// Reference: gland/prior.py.
#include "reduce.cuh"
// c = mean over channels of max(g, 0), or of max(g z, 0) where z is given; one warp a pixel
template <typename T> __global__ void mean_positive(const T* __restrict__ g, const T* __restrict__ z, T* __restrict__ c, int pixels, int C) {
  const int first = (blockIdx.x * blockDim.x + threadIdx.x) / 32, warps = gridDim.x * blockDim.x / 32, lane = threadIdx.x % 32;
  for (int at = first; at < pixels; at += warps) {
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
__global__ void mean_positive_grad(const T* __restrict__ dc, const T* __restrict__ g, const T* __restrict__ z, T* __restrict__ dg,
                                   T* __restrict__ dz, int n, int C) {
  GRID_STRIDE(i, n) {
    const T a = g[i], b = z ? z[i] : T(1), d = a * b > 0 ? dc[i / C] / T(C) : T(0);
    dg[i] = d * b;
    if (z) dz[i] = d * a;
  }
}

// The place of the largest c in each image, the first of equals; one block an image.
template <typename T> __global__ void __launch_bounds__(256) peak(const T* __restrict__ c, long long* __restrict__ place, int P) {
  __shared__ T values[256];
  __shared__ int places[256];
  const T* image = c + blockIdx.x * P;
  T best = image[0];
  int at = 0;
  for (int i = threadIdx.x; i < P; i += blockDim.x)
    if (image[i] > best) best = image[i], at = i;
  values[threadIdx.x] = best;
  places[threadIdx.x] = at;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) >= half) continue;
    const T other = values[threadIdx.x + half];
    const int there = places[threadIdx.x + half];
    if (other > values[threadIdx.x] || (other == values[threadIdx.x] && there < places[threadIdx.x]))
      values[threadIdx.x] = other, places[threadIdx.x] = there;
  }
  if (threadIdx.x == 0) place[blockIdx.x] = places[0];
}

// n = c / max c, or c where that is 0
template <typename T>
__global__ void normalise(const T* __restrict__ c, const long long* __restrict__ place, T* __restrict__ n, int total, int P) {
  GRID_STRIDE(i, total) {
    const T m = c[i / P * P + place[i / P]];
    n[i] = m == 0 ? c[i] : c[i] / m;
  }
}

// dc = dn / m, less sum(dn c) / m^2 at the peak, which divides all; one block an image
template <typename T>
__global__ void __launch_bounds__(256) normalise_grad(
    const T* __restrict__ dn, const T* __restrict__ c, const long long* __restrict__ place, T* __restrict__ dc, int P) {
  const int start = blockIdx.x * P, top = int(place[blockIdx.x]);
  const T m = c[start + top] == 0 ? T(1) : c[start + top];
  T sum = 0;
  for (int i = threadIdx.x; i < P; i += blockDim.x) sum += dn[start + i] * c[start + i];
  sum = block_sum(sum);
  for (int i = threadIdx.x; i < P; i += blockDim.x)
    dc[start + i] = dn[start + i] / m - (i == top && c[start + i] > 0 ? sum / (m * m) : T(0));
}
