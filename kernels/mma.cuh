// The tensor cores' product of one warp, C (16,8) += A (16,8) B (8,8) in TF32: factors of 10 bits after the point, sums
// in float32. Without tensor cores (before sm_80, and on the processor) the same values move between the same lanes by
// shuffles, so that everything but the instruction itself can be run anywhere.

// A float as a TF32 factor: rounded to the nearest, ties away from zero. Other types are left alone.
template <bool TF32, typename T> __device__ T factor(T x) {
  if constexpr (TF32) {
#if !defined(GLAND_ON_CPU) && __CUDA_ARCH__ >= 800
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return __uint_as_float(y);
#else
    return __uint_as_float((__float_as_uint(x) + 0x1000u) & ~0x1fffu);
#endif
  } else {
    return x;
  }
}

// With g = lane / 4 and t = lane % 4 (PTX ISA, mma.m16n8k8): a = A[g][t], A[g+8][t], A[g][t+4], A[g+8][t+4];
// b = B[t][g], B[t+4][g]; c0, c1 = C[g][2t], C[g][2t+1]; c2, c3 = C[g+8][2t], C[g+8][2t+1].
__device__ __forceinline__ void mma(const float (&a)[4], const float (&b)[2], float& c0, float& c1, float& c2,
                                    float& c3) {
#if !defined(GLAND_ON_CPU) && __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
      : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
        "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  for (int k = 0; k < 8; ++k) {
    // lane of A[g][k]: 4 g + k % 4, in its register k / 4 * 2; of B[k][n]: 4 n + k % 4, in its register k / 4
    const float upper = __shfl_sync(0xffffffffu, a[k / 4 * 2], 4 * g + k % 4);
    const float lower = __shfl_sync(0xffffffffu, a[k / 4 * 2 + 1], 4 * g + k % 4);
    const float even = __shfl_sync(0xffffffffu, b[k / 4], 4 * (2 * t) + k % 4);
    const float odd = __shfl_sync(0xffffffffu, b[k / 4], 4 * (2 * t + 1) + k % 4);
    c0 += upper * even;
    c1 += upper * odd;
    c2 += lower * even;
    c3 += lower * odd;
  }
#endif
}
