// The input gradient dx (N,H,W,C) of a convolution: a product of windows of dy with the weights, for each of the stride^2
// phases of dx by itself, since the pixels of one phase meet the same places of the kernel. Reference: gland/ops/plain.py.
// instances: conv_x<float, 64, 4, false>; conv_x<float, 32, 4, false>; conv_x<float, 16, 4, false>
// instances: conv_x<float, 64, 1, false>; conv_x<float, 32, 1, false>; conv_x<float, 16, 1, false>
// instances: conv_x<double, 64, 4, false>; conv_x<double, 32, 4, false>; conv_x<double, 16, 4, false>
// instances: conv_x<double, 64, 1, false>; conv_x<double, 32, 1, false>; conv_x<double, 16, 1, false>
// instances: conv_x<float, 64, 4, true>; conv_x<float, 32, 4, true>; conv_x<float, 16, 4, true>
#include "mma.cuh"
#include "tile.cuh"
// B(k, n): the weights with their channels exchanged, k = (place in the kernel, o) and n = c
template <typename T, int BN, bool TF32> struct Exchanged {
  static constexpr int STRIDE = THREADS / BK, COUNT = BN / STRIDE;
  const T* w;
  int first_h, first_w, every, kernel_w, c, ld, n0;
  Taps tap;
  T piece[COUNT];
  __device__ Exchanged(const T* w_, int fh, int fw, int every_, int kw, int c_, int ld_, int n0_, Taps tap_)
      : w(w_), first_h(fh), first_w(fw), every(every_), kernel_w(kw), c(c_), ld(ld_), n0(n0_), tap(tap_) {}
  __device__ void load(int k, int k_end) {
    const bool some = k + int(threadIdx.x % BK) < k_end;
    const int place = (first_h + tap.dh * every) * kernel_w + first_w + tap.dw * every;
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

// Which places of a kernel the pixels of one phase meet along one axis: first, first + every, ...; and where the first lies in dy.
struct Phase {
  int first = 0, count = 0, start = 0;
  __device__ Phase(int phase, int kernel, int stride, int pad, int dilation, int every) {
    while (first < kernel && first < every && (phase + pad - first * dilation) % stride != 0) ++first;
    if (first >= kernel || first >= every) return;
    count = (kernel - first - 1) / every + 1;
    start = (phase + pad - first * dilation) / stride;
  }
};

// grid: tiles of the pixels of a phase, tiles of channels, phases * groups * splits. every = stride / gcd(stride, dilation)
template <typename T, int BN, int V, bool TF32>
__global__ void __launch_bounds__(THREADS, 2) conv_x(
    const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, int N, int H, int W, int C, int OH, int OW, int O,
    int KH, int KW, int stride, int pad, int dilation, int groups, int splits, int every) {
  const int split = blockIdx.z % splits, group = blockIdx.z / splits % groups, phase = blockIdx.z / splits / groups;
  const int c = C / groups, o = O / groups, m0 = blockIdx.x * BM, n0 = blockIdx.y * BN;
  const int phase_h = phase / stride, phase_w = phase % stride;
  const int rows_h = (H - phase_h + stride - 1) / stride, rows_w = (W - phase_w + stride - 1) / stride;
  if (m0 >= N * rows_h * rows_w) return;  // the whole block: a later phase has fewer pixels
  const Phase ph(phase_h, KH, stride, pad, dilation, every), pw(phase_w, KW, stride, pad, dilation, every);
  const int step = -(every * dilation / stride), k_all = ph.count * pw.count * o;
  const int per = (k_all + splits * BK - 1) / (splits * BK) * BK, k0 = min(split * per, k_all), k1 = min(k0 + per, k_all);
  const int lane = threadIdx.x % (BK / V) * V, taps_w = max(pw.count, 1);
  Windows<T, BN, V, TF32> rows(dy + group * o, N, OH, OW, O, rows_h, rows_w, 1, ph.start, pw.start, m0, Taps(k0 + lane, o, taps_w, step));
  Exchanged<T, BN, TF32> weights(w + group * o, ph.first, pw.first, every, KW, c, O, n0, Taps(k0 + threadIdx.x % BK, o, taps_w, 1));
  T sum[ROWS][COLUMNS] = {};
  tile_product<T, BN, TF32>(rows, weights, k0, k1, sum);
  dx += (long long)split * N * H * W * C + group * c;
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
    const int m = m0 + row<BN, TF32>(i);
    if (m >= N * rows_h * rows_w) continue;
    const int h = m / rows_w % rows_h * stride + phase_h, pixel = (m / rows_w / rows_h * H + h) * W + m % rows_w * stride + phase_w;
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      const int n = n0 + column<BN, TF32>(j);
      if (n < c) dx[pixel * C + n] = sum[i][j];
    }
  }
}
