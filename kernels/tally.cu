// What a step is logged by, added to totals (7) by one thread once the blocks have counted the right pixels.
// Reference: gland/ops/plain.py.
#include "reduce.cuh"
// totals: the sums of the three losses, of class and of pixel accuracy, the number of steps, and the number of the
// first step whose loss was not finite, counted from 1.
// partial: in how many pixels s_gland > s_background agrees with S.   s (n,2)
template <typename T>
__global__ void __launch_bounds__(256) count_right(const T* __restrict__ s, const T* __restrict__ S,
                                                   int* __restrict__ partial, int n) {
  int right = 0;
  GRID_STRIDE(i, n) right += (s[2 * i] > s[2 * i + 1]) == (S[i] > 0);
  right = block_sum(right);
  if (threadIdx.x == 0) partial[blockIdx.x] = right;
}

// one thread; whatever is absent is a null pointer and adds a NaN
template <typename T>
__global__ void tally(
    const T* __restrict__ loss, const T* __restrict__ loss_class, const T* __restrict__ loss_segmentation,
    const T* __restrict__ logits, const long long* __restrict__ label, const int* __restrict__ right,
    double* __restrict__ totals, int N, int L, int parts, int pixels) {
  if (blockIdx.x + threadIdx.x > 0) return;
  const double absent = nan("");
  totals[0] += *loss;
  totals[1] += loss_class ? double(*loss_class) : absent;
  totals[2] += loss_segmentation ? double(*loss_segmentation) : absent;
  int hits = 0;
  for (int n = 0; logits && n < N; ++n) {
    int best = 0;
    for (int l = 1; l < L; ++l)
      if (logits[n * L + l] > logits[n * L + best]) best = l;
    hits += best == label[n];
  }
  totals[3] += logits ? double(hits) / N : absent;
  long long all = 0;
  for (int i = 0; right && i < parts; ++i) all += right[i];
  totals[4] += right ? double(all) / pixels : absent;
  totals[5] += 1;
  if (totals[6] == 0 && *loss - *loss != 0) totals[6] = totals[5];
}
