// The weight gradient dw (KH,KW,C/groups,O) of a convolution: windows of x, transposed, times dy, summed over all places.
// Reference: gland/ops/plain.py.
// instances: conv_w<float, 64, 4, false>; conv_w<float, 32, 4, false>; conv_w<float, 16, 4, false>
// instances: conv_w<float, 64, 1, false>; conv_w<float, 32, 1, false>; conv_w<float, 16, 1, false>
// instances: conv_w<double, 64, 4, false>; conv_w<double, 32, 4, false>; conv_w<double, 16, 4, false>
// instances: conv_w<double, 64, 1, false>; conv_w<double, 32, 1, false>; conv_w<double, 16, 1, false>
// instances: conv_w<float, 64, 4, true>; conv_w<float, 32, 4, true>; conv_w<float, 16, 4, true>
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
  __device__ Transposed(const T* x_, int h, int w, int ld_, int rows_, int columns_, int stride_, int pad, int dilation, int kw, int c, int m,
                        int m_end, int k)
      : x(x_ + m % c), height(h), width(w), ld(ld_), rows(rows_), columns(columns_), stride(stride_), some(m < m_end) {
    dh = m / c / kw * dilation - pad, dw = m / c % kw * dilation - pad;
    n = k / columns / rows, i = k / columns % rows, j = k % columns;
  }
  __device__ void load(int k, int k_end) {
#pragma unroll
    for (int at = 0; at < COUNT; ++at) {
      const int h = i * stride + dh, w = j * stride + dw;
      const bool inside = some && k + int(threadIdx.x / LANES) + at * STRIDE < k_end && unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width);
      piece[at] = inside ? *reinterpret_cast<const Vector<T, V>*>(x + ((n * height + h) * width + w) * ld) : Vector<T, V>{};
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
    const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dw, int N, int H, int W, int C, int OH, int OW, int O,
    int KH, int KW, int stride, int pad, int dilation, int groups, int splits) {
  const int group = blockIdx.z / splits, split = blockIdx.z % splits, c = C / groups, o = O / groups;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, m_all = KH * KW * c, k_all = N * OH * OW;
  const int per = (k_all + splits * BK - 1) / (splits * BK) * BK, k0 = min(split * per, k_all), k1 = min(k0 + per, k_all);
  using A = Transposed<T, BN, V, TF32>;
  A windows(x + group * c, H, W, C, OH, OW, stride, pad, dilation, KW, c, m0 + A::lane(), m_all, k0 + threadIdx.x / A::LANES);
  Matrix<T, BN, V == 1 ? 1 : BN == 16 ? 2 : 4, TF32> places(dy + group * o, O, n0, o);
  T sum[ROWS][COLUMNS] = {};
  tile_product<T, BN, TF32>(windows, places, k0, k1, sum);
  dw += (long long)split * m_all * O + group * o;
#pragma unroll
  for (int i = 0; i < ROWS; ++i)
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      const int m = m0 + row<BN, TF32>(i), n = n0 + column<BN, TF32>(j);
      if (m < m_all && n < o) dw[m * O + n] = sum[i][j];
    }
}
