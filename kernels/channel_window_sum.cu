// y (rows,C) = the sum over the channels j of x (rows,C) with |j - c| <= half; a thread computes one element of y.
// Reference: gland/ops/plain.py.
template <typename T>
__global__ void channel_window_sum(const T* __restrict__ x, T* __restrict__ y, int n, int C, int half) {
  GRID_STRIDE(i, n) {
    const int c = i % C;
    T sum = 0;
    for (int j = max(c - half, 0); j <= min(c + half, C - 1); ++j) sum += x[i - c + j];
    y[i] = sum;
  }
}
