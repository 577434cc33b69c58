// Eq. (4) in its three readings, -(1/J) sum_j [ t_g log P_g + t_b log P_b ], and its gradients ds and df.
// From the logits s (N,P,2), P pixels an image, and S and f (N,P); J = N P. Reference: gland/loss.py.
#include "reduce.cuh"
#define SOFT_TARGET 0
#define WEIGHT 1
#define BALANCED_WEIGHT 2

// grid (parts, N): sums over an image's pixels of S f and of S, as (parts,N,2)
template <typename T>
__global__ void __launch_bounds__(256) gland_sums(const T* __restrict__ S, const T* __restrict__ f,
                                                  T* __restrict__ partial, int N, int P) {
  const int image = blockIdx.y;
  T inside = 0, glands = 0;
  GRID_STRIDE(i, P) {
    inside += S[image * P + i] * f[image * P + i];
    glands += S[image * P + i];
  }
  inside = block_sum(inside);
  glands = block_sum(glands);
  if (threadIdx.x == 0) {
    partial[(blockIdx.x * N + image) * 2] = inside;
    partial[(blockIdx.x * N + image) * 2 + 1] = glands;
  }
}

template <typename T> struct Pixel {
  T gland, background, weight, log_gland, log_background;
  // sums: sum S f and sum S of this image, read by the balanced weight alone
  __device__ Pixel(const T* s, T S, T f, const T* sums, int reading) {
    weight = reading != BALANCED_WEIGHT ? f : sums[0] > 0 ? f * sums[1] / sums[0] : T(1);
    gland = S * weight;
    background = reading == SOFT_TARGET ? 1 - gland : 1 - S;
    const T d = s[0] - s[1];
    log_gland = (d < 0 ? d : T(0)) - log1p(exp(d < 0 ? d : -d));
    log_background = log_gland - d;
  }
};

// grid (parts, N); partial (parts,N)
template <typename T>
__global__ void __launch_bounds__(256) segmentation_loss(
    const T* __restrict__ s, const T* __restrict__ S, const T* __restrict__ f, const T* __restrict__ sums,
    T* __restrict__ partial, int N, int P, int reading) {
  const int image = blockIdx.y;
  T sum = 0;
  GRID_STRIDE(i, P) {
    const int j = image * P + i;
    const Pixel<T> p(s + 2 * j, S[j], f[j], sums + 2 * image, reading);
    sum -= p.gland * p.log_gland + p.background * p.log_background;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x * N + image] = sum;
}

// grid (parts, N). For the balanced weight df is e here, and partial (parts,N) the sums of e weight for balanced_df.
template <typename T>
__global__ void __launch_bounds__(256) segmentation_loss_grad(
    const T* __restrict__ s, const T* __restrict__ S, const T* __restrict__ f, const T* __restrict__ sums,
    T* __restrict__ ds, T* __restrict__ df, T* __restrict__ partial, int N, int P, int reading) {
  const int image = blockIdx.y;
  const T mean = 1 / (T(N) * T(P));  // 1 / J
  T sum = 0;
  GRID_STRIDE(i, P) {
    const int j = image * P + i;
    const Pixel<T> p(s + 2 * j, S[j], f[j], sums + 2 * image, reading);
    const T d = ((p.gland + p.background) * exp(p.log_gland) - p.gland) * mean;
    ds[2 * j] = d;
    ds[2 * j + 1] = -d;
    const T e = S[j] * ((reading == SOFT_TARGET ? p.log_background : T(0)) - p.log_gland) * mean;
    df[j] = e;
    sum += e * p.weight;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x * N + image] = sum;
}

// e -> df = (e - (S / sum S) sum e weight) / m, m = sum S f / sum S; in place
template <typename T>
__global__ void balanced_df(T* __restrict__ df, const T* __restrict__ S, const T* __restrict__ sums,
                            const T* __restrict__ weighted, int n, int P) {
  GRID_STRIDE(j, n) {
    const T inside = sums[j / P * 2], glands = sums[j / P * 2 + 1];
    df[j] = inside > 0 ? (df[j] - S[j] / max(glands, T(1)) * weighted[j / P]) * glands / inside : T(0);
  }
}
