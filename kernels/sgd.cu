// The update of all parameters in place with momentum: V <- mu V + rate (factor dW + decay W), W <- W - V.
// What changes from step to step is read from memory. Reference: gland/ops/plain.py; factor: clip_factor.cu.
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
