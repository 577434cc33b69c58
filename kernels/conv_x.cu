// The input gradient of a convolution: dx (N,H,W,C) = windows of dy (N,OH,OW,O) times w (KH,KW,C/groups,O).
// A block computes a tile of dx, for pixels of one of the stride^2 phases. Reference: gland/ops/plain.py.
// instances: conv_x<{float, double}, {64, 32, 16}, {4, 1}, false>; conv_x<float, {64, 32, 16}, 4, true>
#include "mma.cuh"
#include "tile.cuh"
// The pixels of a phase (h % stride, w % stride) all meet the same places of their windows.
// B(k, n): the weights at those places with their channels exchanged, k = (place, o) and n = c
template <typename T, int BN, bool TF32> struct Exchanged {
  static constexpr int STRIDE = THREADS / BK, COUNT = BN / STRIDE;
  const T* w;
  int first, every, KW, c, ld, n0;
  Taps tap;
  T piece[COUNT];
  __device__ Exchanged(const T* w_, const Conv& s, int first_, int every_, int n0_, Taps tap_)
      : w(w_), first(first_), every(every_), KW(s.KW), c(s.C / s.groups), ld(s.O), n0(n0_), tap(tap_) {}
  __device__ void load(int k, int k_end) {
    const bool some = k + int(threadIdx.x % BK) < k_end;
    const int place = first + (tap.dh * KW + tap.dw) * every;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int n = n0 + threadIdx.x / BK + i * STRIDE;
      piece[i] = some && n < c ? w[(place * c + n) * ld + tap.c] : T(0);
    }
    tap.advance();
  }
  __device__ void store(T (&bs)[BK][PITCH(BN)]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) bs[threadIdx.x % BK][threadIdx.x / BK + i * STRIDE] = factor<TF32>(piece[i]);
  }
};

// Which of `size` places of a window the pixels of one phase meet along one axis: `count` of them, the places first,
// first + every, ...; `start`: where the first lies in dy.
struct Phase {
  int first = 0, count = 0, start = 0;
  __device__ Phase(int phase, int size, const Conv& s, int every) {
    while (first < size && first < every && (phase + s.pad - first * s.dilation) % s.stride != 0) ++first;
    if (first >= size || first >= every) return;
    count = (size - first - 1) / every + 1;
    start = (phase + s.pad - first * s.dilation) / s.stride;
  }
};

// grid: tiles of a phase's pixels, tiles of channels, phases * groups * splits; every: stride / gcd(stride, dilation)
template <typename T, int BN, int V, bool TF32>
__global__ void __launch_bounds__(THREADS, 2) conv_x(
    const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, Conv s, int splits, int every) {
  const int phase = blockIdx.z / splits / s.groups, phase_h = phase / s.stride, phase_w = phase % s.stride;
  const int group = blockIdx.z / splits % s.groups, split = blockIdx.z % splits, c = s.C / s.groups, o = s.O / s.groups;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN;
  const int rows = (s.H - phase_h + s.stride - 1) / s.stride, columns = (s.W - phase_w + s.stride - 1) / s.stride;
  const int m_all = s.N * rows * columns;
  if (m0 >= m_all) return;  // the whole block: a later phase has fewer pixels
  const Phase ph(phase_h, s.KH, s, every), pw(phase_w, s.KW, s, every);
  const Part part(split, splits, ph.count * pw.count * o);
  const Places places{rows, columns, 1, ph.start, pw.start};
  const int step = -(every * s.dilation / s.stride), taps_w = max(pw.count, 1), first = ph.first * s.KW + pw.first;
  const Taps in_dy(part.k0 + threadIdx.x % (BK / V) * V, o, taps_w, step);
  const Taps in_w(part.k0 + threadIdx.x % BK, o, taps_w, 1);
  Windows<T, BN, V, TF32> windows(dy + group * o, s.N, s.OH, s.OW, s.O, places, m0, in_dy);
  Exchanged<T, BN, TF32> weights(w + group * o, s, first, every, n0, in_w);
  T sum[ROWS][COLUMNS] = {};
  tile_product<T, BN, TF32>(windows, weights, part, sum);
  dx += (long long)split * s.N * s.H * s.W * s.C + group * c;
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
    const int m = m0 + row<BN, TF32>(i), h = m / columns % rows * s.stride + phase_h;
    if (m >= m_all) continue;
    const int pixel = (m / columns / rows * s.H + h) * s.W + m % columns * s.stride + phase_w;
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      const int n = n0 + column<BN, TF32>(j);
      if (n < c) dx[pixel * s.C + n] = sum[i][j];
    }
  }
}
