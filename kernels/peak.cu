// place (N) = where the largest c of each image (N,P) is, the first of equals; a block an image.
// Reference: _peak in gland/prior.py.
template <typename T>
__global__ void __launch_bounds__(256) peak(const T* __restrict__ c, long long* __restrict__ place, int P) {
  __shared__ T values[256];
  __shared__ int places[256];
  const T* image = c + blockIdx.x * P;
  T best = image[0];
  int at = 0;
  for (int i = threadIdx.x; i < P; i += blockDim.x)
    if (image[i] > best) best = image[i], at = i;
  values[threadIdx.x] = best;
  places[threadIdx.x] = at;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) >= half) continue;
    const T other = values[threadIdx.x + half];
    const int there = places[threadIdx.x + half];
    if (other > values[threadIdx.x] || (other == values[threadIdx.x] && there < places[threadIdx.x]))
      values[threadIdx.x] = other, places[threadIdx.x] = there;
  }
  if (threadIdx.x == 0) place[blockIdx.x] = places[0];
}
