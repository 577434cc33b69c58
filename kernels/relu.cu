// The rectifier and what its mask lets through. y <= 0, not !(y > 0): what is not a number stays seen.
// Reference: gland/ops/plain.py.
template <typename T> __global__ void relu(const T* __restrict__ x, T* __restrict__ y, int n) {
  GRID_STRIDE(i, n) y[i] = x[i] <= 0 ? T(0) : x[i];
}

template <typename T> __global__ void relu_x(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int n) {
  GRID_STRIDE(i, n) dx[i] = y[i] > 0 ? dy[i] : T(0);
}
