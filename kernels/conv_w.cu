// The weight gradient dw (KH,KW,C/groups,O) of a convolution: windows of x, transposed, times dy, summed over all places.
// Reference: gland/ops/host_conv.py.
// instances: conv_w<float, 64>; conv_w<float, 32>; conv_w<float, 16>; conv_w<double, 64>; conv_w<double, 32>; conv_w<double, 16>
#include "tile.cuh"
// A(m, k): m = (kh, kw, c) is this thread's own; k = (n, i, j), an output place, moves
template <typename T, int BN> struct Transposed {
  static constexpr int COUNT = BM * BK / THREADS, STRIDE = THREADS / BM;
  const T* x;
  int height, width, ld, rows, columns, stride, n, i, j, dh, dw;
  bool some;
  __device__ Transposed(const T* x_, int h, int w, int ld_, int rows_, int columns_, int stride_, int pad, int dilation, int kw, int c, int m,
                        int m_end, int k)
      : x(x_ + m % c), height(h), width(w), ld(ld_), rows(rows_), columns(columns_), stride(stride_), some(m < m_end) {
    dh = m / c / kw * dilation - pad, dw = m / c % kw * dilation - pad;
    n = k / columns / rows, i = k / columns % rows, j = k % columns;
  }
  __device__ void load(T (&piece)[COUNT], int k, int k_end) {
#pragma unroll
    for (int at = 0; at < COUNT; ++at) {
      const int h = i * stride + dh, w = j * stride + dw;
      const bool inside = some && k + int(threadIdx.x / BM) + at * STRIDE < k_end && unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width);
      piece[at] = inside ? x[((n * height + h) * width + w) * ld] : T(0);
      for (j += STRIDE; j >= columns; j -= columns)
        if (++i == rows) i = 0, ++n;
    }
  }
  __device__ void store(const T (&piece)[COUNT], T (&as)[BK][BM + 4]) {
#pragma unroll
    for (int at = 0; at < COUNT; ++at) as[threadIdx.x / BM + at * STRIDE][threadIdx.x % BM] = piece[at];
  }
};

// grid: tiles of (kh, kw, c), tiles of o, groups * splits
template <typename T, int BN>
__global__ void __launch_bounds__(THREADS) conv_w(
    const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dw, int N, int H, int W, int C, int OH, int OW, int O,
    int KH, int KW, int stride, int pad, int dilation, int groups, int splits) {
  const int group = blockIdx.z / splits, split = blockIdx.z % splits, c = C / groups, o = O / groups;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, m_all = KH * KW * c, k_all = N * OH * OW;
  const int per = (k_all + splits * BK - 1) / (splits * BK) * BK, k0 = min(split * per, k_all), k1 = min(k0 + per, k_all);
  Transposed<T, BN> windows(x + group * c, H, W, C, OH, OW, stride, pad, dilation, KW, c, m0 + threadIdx.x % BM, m_all,
                            k0 + threadIdx.x / BM);
  Matrix<T, BN> places(dy + group * o, O, n0, o);
  T sum[TM][TN] = {};
  tile_product<T, BN>(windows, places, k0, k1, sum);
  dw += (long long)split * m_all * O + group * o;
#pragma unroll
  for (int i = 0; i < TM; ++i)
#pragma unroll
    for (int j = 0; j < TN; ++j) {
      const int m = m0 + threadIdx.x / (BN / TN) * TM + i, n = n0 + threadIdx.x % (BN / TN) * TN + j;
      if (m < m_all && n < o) dw[m * O + n] = sum[i][j];
    }
}
