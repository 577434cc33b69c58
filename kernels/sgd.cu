// The update of all parameters at once, V <- mu V + rate (factor dW + decay W), W <- W - V, and the factor that limits the
// gradient's 2-norm. Everything that changes from step to step is read from memory. Reference: gland/ops/plain.py.
#include "reduce.cuh"
template <typename T> __global__ void __launch_bounds__(256) squares(const T* __restrict__ x, double* __restrict__ partial, int n) {
  double sum = 0;
  GRID_STRIDE(i, n) sum += double(x[i]) * double(x[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// one block. factor = min(1, largest / norm); not a number where the gradient is not finite
template <typename T> __global__ void __launch_bounds__(256) clip_factor(const double* __restrict__ partial, T* __restrict__ factor, int parts, double largest) {
  double sum = 0;
  GRID_STRIDE(i, parts) sum += partial[i];
  const double norm = sqrt(block_sum(sum));
  if (threadIdx.x == 0) *factor = norm - norm != 0 ? T(norm - norm) : T(norm > largest ? largest / norm : 1.0);
}

// Does nothing where factor is not finite: the parameters stay the last good ones.
template <typename T>
__global__ void sgd_update(T* __restrict__ w, const T* __restrict__ dw, T* __restrict__ v, const T* __restrict__ rate,
                           const T* __restrict__ factor, int n, T momentum, T decay) {
  const T r = *rate, f = *factor;
  if (f - f != 0) return;
  GRID_STRIDE(i, n) {
    const T step = momentum * v[i] + r * (f * dw[i] + decay * w[i]);
    v[i] = step;
    w[i] -= step;
  }
}

// V <- mu V + factor dW, ahead = mu V + factor dW: not a number where factor is not, and then V stays.
template <typename T>
__global__ void nesterov(const T* __restrict__ dw, T* __restrict__ v, T* __restrict__ ahead, const T* __restrict__ factor, int n, T momentum) {
  const T f = *factor;
  GRID_STRIDE(i, n) {
    const T g = f * dw[i], velocity = momentum * v[i] + g;
    ahead[i] = momentum * velocity + g;
    if (f - f == 0) v[i] = velocity;
  }
}
