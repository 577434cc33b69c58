// y = value, everywhere: how a number of the host comes to the device without a copy.
// Reference: scalar in gland/ops/device/update.py.
template <typename T> __global__ void fill(T* __restrict__ y, int n, T value) {
  GRID_STRIDE(i, n) y[i] = value;
}
