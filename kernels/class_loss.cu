// Eqs. (1), (2): L_c = -(1/N) sum_n log Q_y, Q = softmax(a), from a (N,L) and label (N); and da = (Q - y) / N.
// One block computes the loss, a thread one row of da. Reference: class_loss in gland/loss.py.
#include "reduce.cuh"
template <typename T> __device__ T log_sum(const T* a, int L, T& largest) {
  T sum = 0;
  largest = a[0];
  for (int l = 1; l < L; ++l) largest = max(largest, a[l]);
  for (int l = 0; l < L; ++l) sum += exp(a[l] - largest);
  return log(sum);
}

template <typename T>
__global__ void __launch_bounds__(256) class_loss(const T* __restrict__ a, const long long* __restrict__ label,
                                                  T* __restrict__ loss, int N, int L) {
  T sum = 0;
  GRID_STRIDE(n, N) {
    T largest;
    const T log_of_sum = log_sum(a + n * L, L, largest);
    sum -= a[n * L + label[n]] - largest - log_of_sum;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss = sum / T(N);
}

template <typename T>
__global__ void class_loss_grad(const T* __restrict__ a, const long long* __restrict__ label, T* __restrict__ da, int N,
                                int L) {
  GRID_STRIDE(n, N) {
    T largest;
    const T log_of_sum = log_sum(a + n * L, L, largest);
    for (int l = 0; l < L; ++l) da[n * L + l] = (exp(a[n * L + l] - largest - log_of_sum) - T(l == label[n])) / T(N);
  }
}
