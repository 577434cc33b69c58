// Sums over the threads of one warp or block, always in the same order. blockDim.x must be a multiple of 32.
#define WARP_STRIDE(i, n) \
  for (int i = int(blockIdx.x * blockDim.x + threadIdx.x) / 32; i < (n); i += int(gridDim.x * blockDim.x) / 32)

template <typename T> __device__ T warp_sum(T v) {
  for (int lanes = 16; lanes > 0; lanes >>= 1) v += __shfl_down_sync(0xffffffffu, v, lanes);
  return v;  // whole in lane 0
}

// The sum of v over the block, in every thread.
template <typename T> __device__ T block_sum(T v) {
  __shared__ T warps[32];
  __syncthreads();  // a second call in the same kernel must not overwrite what the first still reads
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
  __syncthreads();
  T sum = 0;
  for (int i = 0; i < int(blockDim.x / 32); ++i) sum += warps[i];
  return sum;
}
