// One block's tile of a matrix product, summed in registers from pieces in shared memory. Loaders say what the matrices
// are, so that the columns of an image never have to exist. The kernels' template parameters: T; BN, a tile's width;
// V, how many neighbouring values a thread loads at once; TF32, whether tensor cores multiply (mma.cuh).
#define THREADS 128
#define BM (BN == 64 ? 64 : 128)
#define BK 16
// of a tile a thread sums ROWS x COLUMNS values
#define ROWS (TF32 ? 4 : 8)
#define COLUMNS ((TF32 ? 2 : 1) * (BN == 16 ? 2 : 4))
#define PITCH(n) ((n) + (TF32 ? 8 : 4))  // 8: what a warp reads for mma lies in 32 different banks

// A convolution of x (N,H,W,C) with w (KH,KW,C/groups,O) to y (N,OH,OW,O); gland/ops/device/conv.py names them as well.
struct Conv {
  int N, H, W, C, OH, OW, O, KH, KW, stride, pad, dilation, groups;
};

// One of `splits` parts of a sum over k < k_all: from k0 up to k1, in whole pieces of BK but for the end.
struct Part {
  int k0, k1;
  __device__ Part(int split, int splits, int k_all) {
    const int length = (k_all + splits * BK - 1) / (splits * BK) * BK;
    k0 = min(split * length, k_all), k1 = min(k0 + length, k_all);
  }
};

template <typename T, int V> struct alignas(V * sizeof(T) < 16 ? V * sizeof(T) : 16) Vector { T v[V]; };
template <int V, typename T> __device__ Vector<T, V> fetch(const T* p) {
  return *reinterpret_cast<const Vector<T, V>*>(p);
}

// Where in the tile this thread's values lie.
template <int BN, bool TF32> __device__ int row(int i) {
  if (!TF32) return threadIdx.x / (BN / COLUMNS) * ROWS + i;
  return (BN == 64 ? threadIdx.x / 64 : threadIdx.x / 32) * 32 + i / 2 * 16 + i % 2 * 8 + threadIdx.x % 32 / 4;
}
template <int BN, bool TF32> __device__ int column(int j) {
  if (!TF32) return threadIdx.x % (BN / COLUMNS) * COLUMNS + j;
  return (BN == 64 ? threadIdx.x / 32 % 2 * 32 : 0) + j / 2 * 8 + threadIdx.x % 4 * 2 + j % 2;
}

// sum[i][j] += over kk of as[kk][row(i)] bs[kk][column(j)]
template <typename T, int BN, bool TF32>
__device__ void multiply(const T (&as)[BK][PITCH(BM)], const T (&bs)[BK][PITCH(BN)], T (&sum)[ROWS][COLUMNS]) {
  if constexpr (TF32) {
    const int k = threadIdx.x % 4, m0 = row<BN, TF32>(0), n0 = column<BN, TF32>(0) - k * 2 + threadIdx.x % 32 / 4;
#pragma unroll
    for (int kk = 0; kk < BK; kk += 8)
#pragma unroll
      for (int j = 0; j < COLUMNS; j += 2) {
        const float b[2] = {bs[kk + k][n0 + j * 4], bs[kk + k + 4][n0 + j * 4]};
#pragma unroll
        for (int i = 0; i < ROWS; i += 2) {
          const int m = m0 + i * 8;
          const float a[4] = {as[kk + k][m], as[kk + k][m + 8], as[kk + k + 4][m], as[kk + k + 4][m + 8]};
          mma(a, b, sum[i][j], sum[i][j + 1], sum[i + 1][j], sum[i + 1][j + 1]);
        }
      }
  } else {
    const int m0 = row<BN, TF32>(0), n0 = column<BN, TF32>(0);
#pragma unroll
    for (int kk = 0; kk < BK; ++kk) {
      T left[ROWS], right[COLUMNS];
#pragma unroll
      for (int i = 0; i < ROWS; ++i) left[i] = as[kk][m0 + i];
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) right[j] = bs[kk][n0 + j];
#pragma unroll
      for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) sum[i][j] += left[i] * right[j];
    }
  }
}

// sum[i][j] += over a part's k of A(m, k) B(k, n) for this thread's m and n
template <typename T, int BN, bool TF32, class A, class B>
__device__ void tile_product(A& a, B& b, Part part, T (&sum)[ROWS][COLUMNS]) {
  const int k_end = part.k1;
  alignas(16) __shared__ T as[BK][PITCH(BM)];
  alignas(16) __shared__ T bs[BK][PITCH(BN)];
  a.load(part.k0, k_end);
  b.load(part.k0, k_end);
  for (int k = part.k0; k < k_end; k += BK) {
    a.store(as);
    b.store(bs);
    __syncthreads();
    if (k + BK < k_end) {  // fetched while the products below are summed
      a.load(k + BK, k_end);
      b.load(k + BK, k_end);
    }
    multiply<T, BN, TF32>(as, bs, sum);
    __syncthreads();
  }
}

// Places inside a window, taken in the order (kh, kw, channel), this thread at one of every BK.
struct Taps {
  int c, dh, dw, channels, step, w_end;
  __device__ Taps(int k, int channels_, int width, int step_) : channels(channels_), step(step_), w_end(width * step_) {
    c = k % channels;
    dw = k / channels % width * step;
    dh = k / channels / width * step;
  }
  __device__ void advance() {
    for (c += BK; c >= channels; c -= channels)
      if ((dw += step) == w_end) dw = 0, dh += step;
  }
};

// Windows rows x columns in each image: window (i, j) begins at pixel (i, j) * stride + (h0, w0).
struct Places {
  int rows, columns, stride, h0, w0;
};

// A(m, k): the windows m = (n, i, j) of the images x (N,H,W,ld), N x H x W = n x height x width.
template <typename T, int BN, int V, bool TF32> struct Windows {
  static constexpr int LANES = BK / V, STRIDE = THREADS / LANES, COUNT = BM / STRIDE;
  const T* x;
  int height, width, ld, image[COUNT], top[COUNT], left[COUNT];
  Taps tap;
  Vector<T, V> piece[COUNT];
  static __device__ int lane() { return threadIdx.x % LANES * V; }
  __device__ Windows(const T* x_, int n, int height_, int width_, int ld_, Places p, int m0, Taps tap_)
      : x(x_), height(height_), width(width_), ld(ld_), tap(tap_) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int m = m0 + threadIdx.x / LANES + i * STRIDE, inside = m < n * p.rows * p.columns;
      image[i] = m / p.columns / p.rows * height * width;
      top[i] = inside ? m / p.columns % p.rows * p.stride + p.h0 : -(1 << 30);
      left[i] = m % p.columns * p.stride + p.w0;
    }
  }
  __device__ void load(int k, int k_end) {
    const bool some = k + lane() < k_end;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int h = top[i] + tap.dh, w = left[i] + tap.dw;
      const bool inside = some && unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width);
      piece[i] = inside ? fetch<V>(x + (image[i] + h * width + w) * ld + tap.c) : Vector<T, V>{};
    }
    tap.advance();
  }
  __device__ void store(T (&as)[BK][PITCH(BM)]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
#pragma unroll
      for (int v = 0; v < V; ++v) as[lane() + v][threadIdx.x / LANES + i * STRIDE] = factor<TF32>(piece[i].v[v]);
  }
};

// B(k, n): a matrix in memory whose rows lie ld apart.
template <typename T, int BN, int V, bool TF32> struct Matrix {
  static constexpr int LANES = BN / V, STRIDE = THREADS / LANES, COUNT = BK / STRIDE;
  const T* p;
  int ld;
  bool some;
  Vector<T, V> piece[COUNT];
  static __device__ int lane() { return threadIdx.x % LANES * V; }
  __device__ Matrix(const T* p_, int ld_, int n0, int n_end)
      : p(p_ + n0 + lane()), ld(ld_), some(n0 + lane() < n_end) {}
  __device__ void load(int k, int k_end) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int kk = k + threadIdx.x / LANES + i * STRIDE;
      piece[i] = some && kk < k_end ? fetch<V>(p + kk * ld) : Vector<T, V>{};
    }
  }
  __device__ void store(T (&bs)[BK][PITCH(BN)]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
#pragma unroll
      for (int v = 0; v < V; ++v) bs[threadIdx.x / LANES + i * STRIDE][lane() + v] = factor<TF32>(piece[i].v[v]);
  }
};
