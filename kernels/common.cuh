// Stands before every kernel (gland/ops/device/launch.py puts it there), so that the compiler needs no include path.
// Indices are int: the launcher refuses arrays of more than 2^31 - 2^24 elements, and a grid of at most 2^24 threads
// cannot step over 2^31 from there.
#define GRID_STRIDE(i, n) \
  for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < (n); i += int(blockDim.x * gridDim.x))
