// The weight gradient of a convolution: dw (KH,KW,C/groups,O) = windows of x (N,H,W,C), transposed, times dy.
// dy (N,OH,OW,O); a block computes a tile of dw. Reference: gland/ops/plain.py.
// instances: conv_w<{float, double}, {64, 32, 16}, {4, 1}, false>; conv_w<float, {64, 32, 16}, 4, true>
#include "mma.cuh"
#include "tile.cuh"
// A(m, k): m = (kh, kw, c) are this thread's own V channels; k = (n, i, j), an output place, moves
template <typename T, int BN, int V, bool TF32> struct Transposed {
  static constexpr int LANES = BM / V, STRIDE = THREADS / LANES, COUNT = BK / STRIDE;
  const T* x;
  int height, width, ld, rows, columns, stride, n, i, j, dh, dw;
  bool some;
  Vector<T, V> piece[COUNT];
  static __device__ int lane() { return threadIdx.x % LANES * V; }
  __device__ Transposed(const T* x_, const Conv& s, int c, int m, int m_end, int k)
      : x(x_ + m % c), height(s.H), width(s.W), ld(s.C), rows(s.OH), columns(s.OW), stride(s.stride), some(m < m_end) {
    dh = m / c / s.KW * s.dilation - s.pad, dw = m / c % s.KW * s.dilation - s.pad;
    n = k / columns / rows, i = k / columns % rows, j = k % columns;
  }
  __device__ void load(int k, int k_end) {
#pragma unroll
    for (int at = 0; at < COUNT; ++at) {
      const int h = i * stride + dh, w = j * stride + dw;
      const bool place = some && k + int(threadIdx.x / LANES) + at * STRIDE < k_end;
      const bool inside = place && unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width);
      piece[at] = inside ? fetch<V>(x + ((n * height + h) * width + w) * ld) : Vector<T, V>{};
      for (j += STRIDE; j >= columns; j -= columns)
        if (++i == rows) i = 0, ++n;
    }
  }
  __device__ void store(T (&as)[BK][PITCH(BM)]) {
#pragma unroll
    for (int at = 0; at < COUNT; ++at)
#pragma unroll
      for (int v = 0; v < V; ++v) as[threadIdx.x / LANES + at * STRIDE][lane() + v] = factor<TF32>(piece[at].v[v]);
  }
};

// grid: tiles of (kh, kw, c), tiles of o, groups * splits
template <typename T, int BN, int V, bool TF32>
__global__ void __launch_bounds__(THREADS, 2) conv_w(
    const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dw, Conv s, int splits) {
  const int group = blockIdx.z / splits, split = blockIdx.z % splits, c = s.C / s.groups, o = s.O / s.groups;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, m_all = s.KH * s.KW * c;
  const Part part(split, splits, s.N * s.OH * s.OW);
  using A = Transposed<T, BN, V, TF32>;
  A windows(x + group * c, s, c, m0 + A::lane(), m_all, part.k0 + threadIdx.x / A::LANES);
  Matrix<T, BN, V == 1 ? 1 : BN == 16 ? 2 : 4, TF32> places(dy + group * o, s.O, n0, o);
  T sum[ROWS][COLUMNS] = {};
  tile_product<T, BN, TF32>(windows, places, part, sum);
  dw += (long long)split * m_all * s.O + group * o;
#pragma unroll
  for (int i = 0; i < ROWS; ++i)
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      const int m = m0 + row<BN, TF32>(i), n = n0 + column<BN, TF32>(j);
      if (m < m_all && n < o) dw[m * s.O + n] = sum[i][j];
    }
}
