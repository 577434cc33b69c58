// Convolution y (N,OH,OW,O) of x (N,H,W,C) with w (KH,KW,C/groups,O), as a matrix product of windows with weights.
// Reference: gland/ops/plain.py.
// instances: conv<float, 64, 4, false>; conv<float, 32, 4, false>; conv<float, 16, 4, false>
// instances: conv<float, 64, 1, false>; conv<float, 32, 1, false>; conv<float, 16, 1, false>
// instances: conv<double, 64, 4, false>; conv<double, 32, 4, false>; conv<double, 16, 4, false>
// instances: conv<double, 64, 1, false>; conv<double, 32, 1, false>; conv<double, 16, 1, false>
// instances: conv<float, 64, 4, true>; conv<float, 32, 4, true>; conv<float, 16, 4, true>
#include "mma.cuh"
#include "tile.cuh"
// grid: tiles of places, tiles of channels, groups * splits; split i sums its own part of k into y + i * (size of y)
template <typename T, int BN, int V, bool TF32>
__global__ void __launch_bounds__(THREADS, 2) conv(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y, int N, int H, int W, int C,
    int OH, int OW, int O, int KH, int KW, int stride, int pad, int dilation, int groups, int splits, int relu) {
  const int group = blockIdx.z / splits, split = blockIdx.z % splits, c = C / groups, o = O / groups;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, k_all = KH * KW * c;
  const int per = (k_all + splits * BK - 1) / (splits * BK) * BK, k0 = min(split * per, k_all), k1 = min(k0 + per, k_all);
  Windows<T, BN, V, TF32> rows(x + group * c, N, H, W, C, OH, OW, stride, -pad, -pad, m0, Taps(k0 + threadIdx.x % (BK / V) * V, c, KW, dilation));
  Matrix<T, BN, 1, TF32> weights(w + group * o, O, n0, o);
  T sum[ROWS][COLUMNS] = {};
  tile_product<T, BN, TF32>(rows, weights, k0, k1, sum);
  y += (long long)split * N * OH * OW * O + group * o;
#pragma unroll
  for (int i = 0; i < ROWS; ++i)
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      const int m = m0 + row<BN, TF32>(i), n = n0 + column<BN, TF32>(j);
      if (m >= N * OH * OW || n >= o) continue;
      const T v = sum[i][j] + (b ? b[group * o + n] : T(0));
      y[m * O + n] = relu && v <= 0 ? T(0) : v;
    }
}
