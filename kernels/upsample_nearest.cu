// Nearest upsampling along one axis: y[i] = x[floor(i n / out)], y (outer,out,inner), x (outer,n,inner); and dx.
// A thread computes one element of y from one of x, one of dx from all dy that read it. Reference: gland/ops/plain.py.
template <typename T>
__global__ void upsample_nearest(const T* __restrict__ x, T* __restrict__ y, int total, int n, int out, int inner) {
  GRID_STRIDE(at, total) {
    const int a = int((long long)(at / inner % out) * n / out);
    y[at] = x[(at / inner / out * n + a) * inner + at % inner];
  }
}

template <typename T>
__global__ void upsample_nearest_x(const T* __restrict__ dy, T* __restrict__ dx, int total, int n, int out, int inner) {
  GRID_STRIDE(at, total) {
    const int a = at / inner % n, start = at / inner / n * out * inner + at % inner;
    const int first = int(((long long)a * out + n - 1) / n), stop = int(((a + 1LL) * out + n - 1) / n);
    T sum = 0;
    for (int i = first; i < stop; ++i) sum += dy[start + i * inner];
    dx[at] = sum;
  }
}
