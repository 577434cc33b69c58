// Bilinear upsampling along one axis: y (outer,out,inner) from x (outer,n,inner); and dx from dy.
// A thread computes one element of y from two of x, one of dx from all dy that read it. Reference: gland/ops/plain.py.

// Output i reads left with weight 1 - t and left + 1 with weight t. Positions are whole numbers over 2 * out, so exact.
template <typename T> __device__ int interpolate(int i, int n, int out, T& t) {
  const long long place = min(max((2LL * i + 1) * n - out, 0LL), (n - 1LL) * 2 * out);  // over 2 * out
  const int left = min(int(place / (2LL * out)), max(n - 2, 0));
  t = T(place - 2LL * out * left) / T(2LL * out);
  return left;
}

template <typename T>
__global__ void upsample_bilinear(const T* __restrict__ x, T* __restrict__ y, int total, int n, int out, int inner) {
  GRID_STRIDE(at, total) {
    T t;
    const int left = interpolate<T>(at / inner % out, n, out, t), start = at / inner / out * n * inner + at % inner;
    y[at] = (1 - t) * x[start + left * inner] + t * x[start + min(left + 1, n - 1) * inner];
  }
}

template <typename T>
__global__ void upsample_bilinear_x(const T* __restrict__ dy, T* __restrict__ dx, int total, int n, int out,
                                    int inner) {
  GRID_STRIDE(at, total) {
    const int a = at / inner % n, start = at / inner / n * out * inner + at % inner;
    // positions strictly between a - 1 and a + 1, and all beyond the edges
    const int first = a == 0 ? 0 : int(max((2LL * a - 1) * out / (2LL * n) - 1, 0LL));
    const int last = a == n - 1 ? out - 1 : int(min((2LL * a + 3) * out / (2LL * n) + 1, out - 1LL));
    T sum = 0;
    for (int i = first; i <= last; ++i) {
      T t;
      const int left = interpolate<T>(i, n, out, t);
      const T weight = (left == a ? 1 - t : T(0)) + (min(left + 1, n - 1) == a ? t : T(0));
      sum += weight * dy[start + i * inner];
    }
    dx[at] = sum;
  }
}
