// y = x - log sum exp x along the last axis of x (rows,L), the logarithm of softmax(x).
// A thread computes one row: L is 2 in our networks. Reference: gland/ops/plain.py.
template <typename T> __global__ void log_softmax(const T* __restrict__ x, T* __restrict__ y, int rows, int L) {
  GRID_STRIDE(row, rows) {
    const T* a = x + row * L;
    T largest = a[0], sum = 0;
    for (int l = 1; l < L; ++l) largest = max(largest, a[l]);
    for (int l = 0; l < L; ++l) sum += exp(a[l] - largest);
    sum = log(sum);
    for (int l = 0; l < L; ++l) y[row * L + l] = a[l] - largest - sum;
  }
}
