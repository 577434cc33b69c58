// The factor that limits the 2-norm of a gradient x (n): first each block's sum of squares, then from these the factor.
// Reference: clip_factor in gland/training/solver.py.
#include "reduce.cuh"
template <typename T>
__global__ void __launch_bounds__(256) squares(const T* __restrict__ x, double* __restrict__ partial, int n) {
  double sum = 0;
  GRID_STRIDE(i, n) sum += double(x[i]) * double(x[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// one block. factor = min(1, largest / norm); not a number where the gradient is not finite
template <typename T>
__global__ void __launch_bounds__(256) clip_factor(const double* __restrict__ partial, T* __restrict__ factor,
                                                   int parts, double largest) {
  double sum = 0;
  GRID_STRIDE(i, parts) sum += partial[i];
  const double norm = sqrt(block_sum(sum));
  if (threadIdx.x == 0) *factor = norm - norm != 0 ? T(norm - norm) : T(norm > largest ? largest / norm : 1.0);
}
