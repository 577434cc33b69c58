// CUDA C++ as g++ reads it: enough of the language for kernels/*.cu, and nothing that they should not use (no atomics).
#pragma once
#define GLAND_ON_CPU 1  // kernels choose plain C++ instead of inline PTX by it
#include <math.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) alignas(n)
#define __launch_bounds__(...)
// Blocks run one after another, so a static variable is shared by the threads of one block. build.py lets every such variable
// tell the runtime where it lies, and turns `extern __shared__` into the launch's dynamic part.
#define __shared__ static

#define CUDA_HIDDEN __attribute__((visibility("hidden")))

#define CUDA_VECTORS(T, name)                                                        \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                 \
  struct name##3 { T x, y, z; };                                                     \
  struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) name##4 { T x, y, z, w; };      \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }                         \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                 \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_VECTORS(float, float)
CUDA_VECTORS(double, double)
CUDA_VECTORS(int, int)
CUDA_VECTORS(unsigned, uint)
typedef uint3 dim3;
extern CUDA_HIDDEN uint3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

// The runtime (runtime.cpp): every call may switch to another CUDA thread.
namespace cuda {
CUDA_HIDDEN void block_barrier(int line);
CUDA_HIDDEN void warp_barrier(unsigned mask, int line);
CUDA_HIDDEN int thread();                      // the flat index of the running thread in its block
CUDA_HIDDEN unsigned char* exchange_slot(int thread);  // 16 bytes for what a thread hands to its warp
CUDA_HIDDEN bool lane_exists(int thread);
CUDA_HIDDEN void* dynamic_shared();
CUDA_HIDDEN bool shared_variable(const char* name, void* start, size_t bytes);  // called once, by the first thread to reach it

template <class T> T exchange(unsigned mask, T value, int from, int line) {  // from: flat index, or -1 for the own value
  static_assert(sizeof(T) <= 16, "a shuffle of at most 16 bytes");
  memcpy(exchange_slot(thread()), &value, sizeof value);
  warp_barrier(mask, line);
  T got = value;
  if (from >= 0) {
    if (lane_exists(from) && (mask >> (from & 31) & 1)) memcpy(&got, exchange_slot(from), sizeof got);
    else memset(&got, 0xFF, sizeof got);  // an absent lane: what a GPU leaves undefined is poison here
  }
  warp_barrier(mask, line);
  return got;
}
}  // namespace cuda

inline void __syncthreads(int line = __builtin_LINE()) { cuda::block_barrier(line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) { cuda::warp_barrier(mask, line); }
template <class T> T __shfl_sync(unsigned mask, T v, int lane, int width = 32, int line = __builtin_LINE()) {
  int t = cuda::thread();
  return cuda::exchange(mask, v, (t & ~(width - 1)) + (lane & (width - 1)), line);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, int line = __builtin_LINE()) {
  int t = cuda::thread();
  return cuda::exchange(mask, v, (t & (width - 1)) + int(by) < width ? t + int(by) : -1, line);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, int line = __builtin_LINE()) {
  int t = cuda::thread();
  return cuda::exchange(mask, v, (t & (width - 1)) >= int(by) ? t - int(by) : -1, line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int by, int width = 32, int line = __builtin_LINE()) {
  int t = cuda::thread(), from = (t & ~31) + ((t & 31) ^ by);
  return cuda::exchange(mask, v, (from & ~(width - 1)) <= t ? from : -1, line);
}
inline unsigned __ballot_sync(unsigned mask, int yes, int line = __builtin_LINE()) {
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    int from = (cuda::thread() & ~31) + lane;
    bool present = (mask >> lane & 1) && cuda::lane_exists(from);
    int vote = cuda::exchange(mask, int(yes != 0), present ? from : -1, line);
    if (present && vote) votes |= 1u << lane;
  }
  return votes;
}
inline int __any_sync(unsigned mask, int yes, int line = __builtin_LINE()) { return __ballot_sync(mask, yes, line) != 0; }

template <class T> inline T max(T a, T b) { return a < b ? b : a; }
template <class T> inline T min(T a, T b) { return b < a ? b : a; }
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
template <class T> inline T __ldg(const T* p) { return *p; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
inline double rsqrt(double x) { return 1. / sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }
inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }
inline unsigned __float_as_uint(float f) { unsigned i; memcpy(&i, &f, 4); return i; }
inline float __uint_as_float(unsigned i) { float f; memcpy(&f, &i, 4); return f; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline void __threadfence() {}
inline void __threadfence_block() {}
