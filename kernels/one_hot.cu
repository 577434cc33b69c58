// y (N,L) = 1 at the label (N) of each row, else 0; a thread computes one element of y.
// Reference: _one_hot in gland/prior.py.
template <typename T> __global__ void one_hot(const long long* __restrict__ label, T* __restrict__ y, int n, int L) {
  GRID_STRIDE(i, n) y[i] = T(i % L == label[i / L]);
}
