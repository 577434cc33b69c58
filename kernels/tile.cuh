// One block's tile of a matrix product, summed in registers from pieces in shared memory. Loaders say what the matrices
// are, so that the columns of an image never have to exist.
#define BM 64
#define BK 16
#define TM 4
#define TN (BN == 16 ? 2 : 4)
#define THREADS (BM / TM * BN / TN)

// sum[i][j] += over k of A(m, k) B(k, n) for this thread's m = row(i), n = column(j) in the tile.
template <typename T, int BN, class A, class B> __device__ void tile_product(A& a, B& b, int k, int k_end, T (&sum)[TM][TN]) {
  alignas(16) __shared__ T as[BK][BM + 4];
  alignas(16) __shared__ T bs[BK][BN + 4];
  const int row = threadIdx.x / (BN / TN) * TM, column = threadIdx.x % (BN / TN) * TN;
  T next_a[BM * BK / THREADS], next_b[BK * BN / THREADS];
  a.load(next_a, k, k_end);
  b.load(next_b, k, k_end);
  for (; k < k_end; k += BK) {
    a.store(next_a, as);
    b.store(next_b, bs);
    __syncthreads();
    if (k + BK < k_end) {  // fetched while the products below are summed
      a.load(next_a, k + BK, k_end);
      b.load(next_b, k + BK, k_end);
    }
#pragma unroll
    for (int kk = 0; kk < BK; ++kk) {
      T left[TM], right[TN];
#pragma unroll
      for (int i = 0; i < TM; ++i) left[i] = as[kk][row + i];
#pragma unroll
      for (int j = 0; j < TN; ++j) right[j] = bs[kk][column + j];
#pragma unroll
      for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) sum[i][j] += left[i] * right[j];
    }
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

// A(m, k): the windows of an image x (N, H, W, ld) under the output places m = (n, i, j) of N x rows x columns.
template <typename T, int BN> struct Windows {
  static constexpr int COUNT = BM * BK / THREADS, STRIDE = THREADS / BK;
  const T* x;
  int height, width, ld, image[COUNT], top[COUNT], left[COUNT];
  Taps tap;
  __device__ Windows(const T* x_, int n, int h, int w, int ld_, int rows, int columns, int stride, int h0, int w0, int m0, Taps tap_)
      : x(x_), height(h), width(w), ld(ld_), tap(tap_) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int m = m0 + threadIdx.x / BK + i * STRIDE, inside = m < n * rows * columns;
      image[i] = m / columns / rows * h * w;
      top[i] = inside ? m / columns % rows * stride + h0 : -(1 << 30);
      left[i] = m % columns * stride + w0;
    }
  }
  __device__ void load(T (&piece)[COUNT], int k, int k_end) {
    const bool some = k + int(threadIdx.x % BK) < k_end;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int h = top[i] + tap.dh, w = left[i] + tap.dw;
      const bool inside = some && unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width);
      piece[i] = inside ? x[(image[i] + h * width + w) * ld + tap.c] : T(0);
    }
    tap.advance();
  }
  __device__ void store(const T (&piece)[COUNT], T (&as)[BK][BM + 4]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) as[threadIdx.x % BK][threadIdx.x / BK + i * STRIDE] = piece[i];
  }
};

// B(k, n): a matrix in memory whose rows lie ld apart.
template <typename T, int BN> struct Matrix {
  static constexpr int COUNT = BK * BN / THREADS, STRIDE = THREADS / BN;
  const T* p;
  int ld;
  bool some;
  __device__ Matrix(const T* p_, int ld_, int n0, int n_end) : p(p_ + n0 + threadIdx.x % BN), ld(ld_), some(n0 + int(threadIdx.x % BN) < n_end) {}
  __device__ void load(T (&piece)[COUNT], int k, int k_end) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int kk = k + threadIdx.x / BN + i * STRIDE;
      piece[i] = some && kk < k_end ? p[kk * ld] : T(0);
    }
  }
  __device__ void store(const T (&piece)[COUNT], T (&bs)[BK][BN + 4]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) bs[threadIdx.x / BN + i * STRIDE][threadIdx.x % BN] = piece[i];
  }
};
