// y = a b, element by element.
// Reference: gland/ops/plain.py.
template <typename T>
__global__ void multiply(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int n) {
  GRID_STRIDE(i, n) y[i] = a[i] * b[i];
}
