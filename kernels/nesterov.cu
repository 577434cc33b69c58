// V <- mu V + factor dW in place, and ahead = mu V + factor dW: not a number where factor is not, and then V stays.
// Reference: gland/ops/plain.py; factor: clip_factor.cu.
template <typename T>
__global__ void nesterov(const T* __restrict__ dw, T* __restrict__ v, T* __restrict__ ahead,
                         const T* __restrict__ factor, int n, T momentum) {
  const T f = *factor;
  GRID_STRIDE(i, n) {
    const T g = f * dw[i], velocity = momentum * v[i] + g;
    ahead[i] = momentum * velocity + g;
    if (f - f == 0) v[i] = velocity;
  }
}
