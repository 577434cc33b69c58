// The sum over the rows of x (B,R,C) to y (B,C) in two passes of a fixed order: partial (parts,B,C), then y.
// The second pass also finishes a product cut into splits. Reference: channel_sum, spatial_sum in gland/ops/plain.py.
// block (32, 8): 32 channels, 8 rows at a time; grid: tiles of channels, parts of `per` rows, B
template <typename T>
__global__ void __launch_bounds__(256) column_sums(const T* __restrict__ x, T* __restrict__ partial, int B, int R,
                                                   int C, int per, T scale) {
  __shared__ T sums[8][32];
  const int c = blockIdx.x * 32 + threadIdx.x, part = blockIdx.y, image = blockIdx.z;
  T sum = 0;
  if (c < C)
    for (int r = part * per + threadIdx.y; r < min(R, (part + 1) * per); r += 8) sum += x[(image * R + r) * C + c];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= C) return;
  for (int i = 1; i < 8; ++i) sum += sums[i][threadIdx.x];
  partial[(part * B + image) * C + c] = scale * sum;
}

// y[i] = scale * sum over splits of partial[split, i], plus b[i % O]; relu: not below 0
template <typename T>
__global__ void sum_splits(const T* __restrict__ partial, const T* __restrict__ b, T* __restrict__ y, int n, int O,
                           int splits, T scale, int relu) {
  GRID_STRIDE(i, n) {
    T sum = 0;
    for (int s = 0; s < splits; ++s) sum += partial[(long long)s * n + i];
    sum = scale * sum + (b ? b[i % O] : T(0));
    y[i] = relu && sum <= 0 ? T(0) : sum;
  }
}
