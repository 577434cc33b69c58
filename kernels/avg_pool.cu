// The mean of each window of x (N,H,W,C), padding counted as zeros, and its adjoint.
// Reference: gland/ops/plain.py.
template <typename T>
__global__ void avg_pool(const T* __restrict__ x, T* __restrict__ y, int n, int H, int W, int C, int OH, int OW, int KH, int KW, int stride,
                         int pad) {
  GRID_STRIDE(at, n) {
    const int c = at % C, ow = at / C % OW, oh = at / C / OW % OH, image = at / C / OW / OH;
    const int h0 = oh * stride - pad, w0 = ow * stride - pad;
    T sum = 0;
    for (int h = max(h0, 0); h < min(h0 + KH, H); ++h)
      for (int w = max(w0, 0); w < min(w0 + KW, W); ++w) sum += x[((image * H + h) * W + w) * C + c];
    y[at] = sum / T(KH * KW);
  }
}

template <typename T>
__global__ void avg_pool_x(const T* __restrict__ dy, T* __restrict__ dx, int n, int H, int W, int C, int OH, int OW, int KH, int KW,
                           int stride, int pad) {
  GRID_STRIDE(at, n) {
    const int c = at % C, w = at / C % W, h = at / C / W % H, image = at / C / W / H;
    T sum = 0;
    for (int oh = max(0, (h + pad - KH + stride) / stride); oh <= min((h + pad) / stride, OH - 1); ++oh)
      for (int ow = max(0, (w + pad - KW + stride) / stride); ow <= min((w + pad) / stride, OW - 1); ++ow)
        sum += dy[((image * OH + oh) * OW + ow) * C + c];
    dx[at] = sum / T(KH * KW);
  }
}
