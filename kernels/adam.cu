// Adam's update of all parameters in place, g = factor dW:  m <- b1 m + (1 - b1) g,  s <- b2 s + (1 - b2) g^2,
// W <- W - rate (m / (sqrt(s) + epsilon) + decay W).  Reference: gland/ops/plain.py; factor: clip_factor.cu.
// Does nothing where factor is not finite: the parameters stay the last good ones.
template <typename T>
__global__ void adam_update(T* __restrict__ w, const T* __restrict__ dw, T* __restrict__ m, T* __restrict__ s,
                            const T* __restrict__ rate, const T* __restrict__ factor, int n, T beta1, T beta2,
                            T epsilon, T decay) {
  const T r = *rate, f = *factor;
  if (f - f != 0) return;
  GRID_STRIDE(i, n) {
    const T g = f * dw[i];
    const T mean = beta1 * m[i] + (1 - beta1) * g, square = beta2 * s[i] + (1 - beta2) * g * g;
    m[i] = mean;
    s[i] = square;
    w[i] -= r * (mean / (sqrt(square) + epsilon) + decay * w[i]);
  }
}
