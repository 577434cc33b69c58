// Muon's step for all matrices of a gradient g at once: step = 0.2 sqrt(max(m, n)) orthogonal(g), in tiles of 32 x 32.
// A block computes a tile of one matrix. Reference: straighten and orthogonal in gland/training/solver.py.
#include "reduce.cuh"
// A matrix of g begins at table.x and has table.y rows of table.z elements; its n x n matrices begin at table.w. It is
// seen as `tall`, its longer side downwards; all others are n x n, n the shorter side, and symmetric.
struct Shape {
  int start, rows, columns, square;
  __device__ Shape(int4 t) : start(t.x), rows(t.y), columns(t.z), square(t.w) {}
  __device__ int n() const { return min(rows, columns); }
  __device__ int length() const { return max(rows, columns); }
  __device__ int at(int i, int j) const {  // of tall
    return start + (rows >= columns ? i * columns + j : j * columns + i);
  }
};

// sum[r] = sum over k < depth of left(k, i) right(k, j), i = place(r), j = threadIdx.x: where this thread is
__device__ int place(int r) { return threadIdx.y + 8 * r; }
template <typename T, typename Left, typename Right>
__device__ void tile_sum(Left left, Right right, int depth, T (&sum)[4]) {
  __shared__ T a[32][33], b[32][33];
  for (int k0 = 0; k0 < depth; k0 += 32) {
    for (int r = 0; r < 4; ++r) {
      const int k = k0 + place(r);
      a[place(r)][threadIdx.x] = k < depth ? left(k, threadIdx.x) : T(0);
      b[place(r)][threadIdx.x] = k < depth ? right(k, threadIdx.x) : T(0);
    }
    __syncthreads();
    for (int k = 0; k < 32; ++k)
      for (int r = 0; r < 4; ++r) sum[r] += a[k][place(r)] * b[k][threadIdx.x];
    __syncthreads();
  }
}

// square = tall^T tall.  grid: tiles of n, tiles of n, matrices
template <typename T>
__global__ void __launch_bounds__(256) gram(const T* __restrict__ g, const int4* __restrict__ table,
                                            T* __restrict__ square) {
  const Shape m(table[blockIdx.z]);
  const int i0 = blockIdx.y * 32, j0 = blockIdx.x * 32, n = m.n();
  if (i0 >= n || j0 >= n) return;
  T sum[4] = {};
  tile_sum([&](int k, int i) { return i0 + i < n ? g[m.at(k, i0 + i)] : T(0); },
           [&](int k, int j) { return j0 + j < n ? g[m.at(k, j0 + j)] : T(0); }, m.length(), sum);
  for (int r = 0; r < 4; ++r) {
    const int i = i0 + place(r), j = j0 + threadIdx.x;
    if (i < n && j < n) square[m.square + i * n + j] = sum[r];
  }
}

// square /= |g|^2,  q = I / |g|, or 0 for a dead matrix.  grid: matrices
template <typename T>
__global__ void __launch_bounds__(256) begin(const int4* __restrict__ table, T* __restrict__ square,
                                             T* __restrict__ q) {
  const Shape m(table[blockIdx.x]);
  const int n = m.n();
  T trace = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) trace += square[m.square + i * n + i];
  trace = block_sum(trace);
  const bool dead = trace < T(1e-30);
  const T norm = dead ? T(1) : sqrt(trace);
  for (int i = threadIdx.x; i < n * n; i += blockDim.x) {
    square[m.square + i] = square[m.square + i] / norm / norm;
    q[m.square + i] = i / n == i % n && !dead ? 1 / norm : T(0);
  }
}

// y0 = alpha x0 + beta x0 z, and y1 of x1 alike if there is one.  grid: tiles of n, tiles of n, matrices times 1 or 2
template <typename T>
__global__ void __launch_bounds__(256) turn(
    const T* __restrict__ x0, const T* __restrict__ x1, const T* z, const int4* __restrict__ table, T* __restrict__ y0,
    T* __restrict__ y1, int count, T alpha, T beta) {
  const Shape m(table[blockIdx.z % count]);
  const T* x = (int(blockIdx.z) < count ? x0 : x1) + m.square;
  T* y = (int(blockIdx.z) < count ? y0 : y1) + m.square;
  z += m.square;
  const int i0 = blockIdx.y * 32, j0 = blockIdx.x * 32, n = m.n();
  if (i0 >= n || j0 >= n) return;
  T sum[4] = {};
  tile_sum([&](int k, int i) { return i0 + i < n ? x[k * n + i0 + i] : T(0); },
           [&](int k, int j) { return j0 + j < n ? z[k * n + j0 + j] : T(0); }, n, sum);
  for (int r = 0; r < 4; ++r) {
    const int i = i0 + place(r), j = j0 + threadIdx.x;
    if (i < n && j < n) y[i * n + j] = alpha * x[i * n + j] + beta * sum[r];
  }
}

// step = 0.2 sqrt(max(m, n)) tall q, where g has tall.  grid: tiles of n, tiles of the longer side, matrices
template <typename T>
__global__ void __launch_bounds__(256) finish(const T* __restrict__ g, const T* __restrict__ q,
                                              const int4* __restrict__ table, T* __restrict__ step) {
  const Shape m(table[blockIdx.z]);
  const int i0 = blockIdx.y * 32, j0 = blockIdx.x * 32, n = m.n();
  if (i0 >= m.length() || j0 >= n) return;
  T sum[4] = {};
  tile_sum([&](int k, int i) { return i0 + i < m.length() ? g[m.at(i0 + i, k)] : T(0); },
           [&](int k, int j) { return j0 + j < n ? q[m.square + k * n + j0 + j] : T(0); }, n, sum);
  for (int r = 0; r < 4; ++r) {
    const int i = i0 + place(r), j = j0 + threadIdx.x;
    if (i < m.length() && j < n) step[m.at(i, j)] = T(0.2) * sqrt(T(m.length())) * sum[r];
  }
}
