// Convolution y (N,OH,OW,O) of x (N,H,W,C) with w (KH,KW,C/groups,O), as a matrix product of windows with weights.
// Reference: gland/ops/host_conv.py.
// instances: conv<float, 64>; conv<float, 32>; conv<float, 16>; conv<double, 64>; conv<double, 32>; conv<double, 16>
#include "tile.cuh"
// grid: tiles of places, tiles of channels, groups * splits; split i sums its own part of k into y + i * (size of y)
template <typename T, int BN>
__global__ void __launch_bounds__(THREADS) conv(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y, int N, int H, int W, int C,
    int OH, int OW, int O, int KH, int KW, int stride, int pad, int dilation, int groups, int splits, int relu) {
  const int group = blockIdx.z / splits, split = blockIdx.z % splits, c = C / groups, o = O / groups;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, k_all = KH * KW * c;
  const int per = (k_all + splits * BK - 1) / (splits * BK) * BK, k0 = min(split * per, k_all), k1 = min(k0 + per, k_all);
  Windows<T, BN> rows(x + group * c, N, H, W, C, OH, OW, stride, -pad, -pad, m0, Taps(k0 + threadIdx.x % BK, c, KW, dilation));
  Matrix<T, BN> weights(w + group * o, O, n0, o);
  T sum[TM][TN] = {};
  tile_product<T, BN>(rows, weights, k0, k1, sum);
  y += (long long)split * N * OH * OW * O + group * o;
#pragma unroll
  for (int i = 0; i < TM; ++i)
#pragma unroll
    for (int j = 0; j < TN; ++j) {
      const int m = m0 + threadIdx.x / (BN / TN) * TM + i, n = n0 + threadIdx.x % (BN / TN) * TN + j;
      if (m >= N * OH * OW || n >= o) continue;
      const T v = sum[i][j] + (b ? b[group * o + n] : T(0));
      y[m * O + n] = relu && v <= 0 ? T(0) : v;
    }
}
