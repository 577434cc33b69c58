// Sums and products element by element, and one vector for every position.
// Reference: gland/ops/plain.py.
template <typename T> __global__ void add(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int n) {
  GRID_STRIDE(i, n) y[i] = a[i] + b[i];
}

template <typename T> __global__ void multiply(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int n) {
  GRID_STRIDE(i, n) y[i] = a[i] * b[i];
}

template <typename T> __global__ void channel_add(const T* __restrict__ x, const T* __restrict__ b, T* __restrict__ y, int n, int C) {
  GRID_STRIDE(i, n) y[i] = x[i] + b[i % C];
}

// x (N,C) -> y (N,P,C), P positions
template <typename T> __global__ void broadcast(const T* __restrict__ x, T* __restrict__ y, int n, int P, int C, T scale) {
  GRID_STRIDE(i, n) y[i] = scale * x[i / C / P * C + i % C];
}

template <typename T> __global__ void fill(T* __restrict__ y, int n, T value) {
  GRID_STRIDE(i, n) y[i] = value;
}

// y (rows,C): the sum over the channels j of x with |j - c| <= half
template <typename T> __global__ void channel_window_sum(const T* __restrict__ x, T* __restrict__ y, int n, int C, int half) {
  GRID_STRIDE(i, n) {
    const int c = i % C;
    T sum = 0;
    for (int j = max(c - half, 0); j <= min(c + half, C - 1); ++j) sum += x[i - c + j];
    y[i] = sum;
  }
}
