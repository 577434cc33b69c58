// Convolution: y (N,OH,OW,O) = windows of x (N,H,W,C) times w (KH,KW,C/groups,O), + b (O) if given, rectified if relu.
// A block computes a tile of y. Reference: gland/ops/plain.py.
// instances: conv<{float, double}, {64, 32, 16}, {4, 1}, false>; conv<float, {64, 32, 16}, 4, true>
#include "mma.cuh"
#include "tile.cuh"
// grid: tiles of places, tiles of channels, groups * splits; split i sums its own part of k into y + i * (size of y)
template <typename T, int BN, int V, bool TF32>
__global__ void __launch_bounds__(THREADS, 2) conv(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    Conv s, int splits, int relu) {
  const int group = blockIdx.z / splits, split = blockIdx.z % splits, c = s.C / s.groups, o = s.O / s.groups;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, m_all = s.N * s.OH * s.OW;
  const Part part(split, splits, s.KH * s.KW * c);
  const Places places{s.OH, s.OW, s.stride, -s.pad, -s.pad};
  const Taps taps(part.k0 + threadIdx.x % (BK / V) * V, c, s.KW, s.dilation);
  Windows<T, BN, V, TF32> windows(x + group * c, s.N, s.H, s.W, s.C, places, m0, taps);
  Matrix<T, BN, 1, TF32> weights(w + group * o, s.O, n0, o);
  T sum[ROWS][COLUMNS] = {};
  tile_product<T, BN, TF32>(windows, weights, part, sum);
  y += (long long)split * m_all * s.O + group * o;
#pragma unroll
  for (int i = 0; i < ROWS; ++i)
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      const int m = m0 + row<BN, TF32>(i), n = n0 + column<BN, TF32>(j);
      if (m >= m_all || n >= o) continue;
      const T v = sum[i][j] + (b ? b[group * o + n] : T(0));
      y[m * s.O + n] = relu && v <= 0 ? T(0) : v;
    }
}
