// Eqs. (1), (2): L_c = -(1/N) sum_n log Q_y with Q = softmax(a), and its gradient (Q - y) / N.   a (N,L), label (N,)
// Reference: class_loss in gland/loss.py.
#include "reduce.cuh"
template <typename T> __device__ T log_sum(const T* a, int L, T& largest) {
  T sum = 0;
  largest = a[0];
  for (int l = 1; l < L; ++l) largest = max(largest, a[l]);
  for (int l = 0; l < L; ++l) sum += exp(a[l] - largest);
  return log(sum);
}

// one block
template <typename T>
__global__ void __launch_bounds__(256) class_loss(const T* __restrict__ a, const long long* __restrict__ label, T* __restrict__ loss, int N, int L) {
  T sum = 0;
  GRID_STRIDE(n, N) {
    T largest;
    const T log_of_sum = log_sum(a + n * L, L, largest);
    sum -= a[n * L + label[n]] - largest - log_of_sum;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss = sum / T(N);
}

template <typename T> __global__ void class_loss_grad(const T* __restrict__ a, const long long* __restrict__ label, T* __restrict__ da, int N, int L) {
  GRID_STRIDE(n, N) {
    T largest;
    const T log_of_sum = log_sum(a + n * L, L, largest);
    for (int l = 0; l < L; ++l) da[n * L + l] = (exp(a[n * L + l] - largest - log_of_sum) - T(l == label[n])) / T(N);
  }
}

// y (N,L): 1 at the label, else 0
template <typename T> __global__ void one_hot(const long long* __restrict__ label, T* __restrict__ y, int n, int L) {
  GRID_STRIDE(i, n) y[i] = T(i % L == label[i / L]);
}
