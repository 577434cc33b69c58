// The rectifier: y = max(x, 0), not a number where x is not (x <= 0, not !(x > 0)); and dx = dy where y > 0, else 0.
// Reference: gland/ops/plain.py.
template <typename T> __global__ void relu(const T* __restrict__ x, T* __restrict__ y, int n) {
  GRID_STRIDE(i, n) y[i] = x[i] <= 0 ? T(0) : x[i];
}

template <typename T>
__global__ void relu_x(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int n) {
  GRID_STRIDE(i, n) dx[i] = y[i] > 0 ? dy[i] : T(0);
}
