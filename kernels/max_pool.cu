// Max-pooling of x (N,H,W,C), its input gradient and its tangent; argmax is the winner's place kh * KW + kw in its window.
// Reference: gland/ops/plain.py.
// instances: max_pool<float, unsigned char>; max_pool<float, int>; max_pool<double, unsigned char>; max_pool<double, int>
// instances: max_pool_x<float, unsigned char>; max_pool_x<float, int>; max_pool_x<double, unsigned char>; max_pool_x<double, int>
// instances: max_pool_t<float, unsigned char>; max_pool_t<float, int>; max_pool_t<double, unsigned char>; max_pool_t<double, int>
template <typename T, typename Place>
__global__ void max_pool(const T* __restrict__ x, T* __restrict__ y, Place* __restrict__ argmax, int n, int H, int W, int C, int OH, int OW,
                         int KH, int KW, int stride, int pad) {
  GRID_STRIDE(at, n) {
    const int c = at % C, ow = at / C % OW, oh = at / C / OW % OH, image = at / C / OW / OH;
    T best = 0;
    int winner = -1;
    for (int kh = 0; kh < KH; ++kh) {
      const int h = oh * stride - pad + kh;
      if (h < 0 || h >= H) continue;
      for (int kw = 0; kw < KW; ++kw) {
        const int w = ow * stride - pad + kw;
        if (w < 0 || w >= W) continue;
        const T v = x[((image * H + h) * W + w) * C + c];
        if (winner < 0 || v > best) best = v, winner = kh * KW + kw;
      }
    }
    y[at] = best;
    argmax[at] = Place(winner);
  }
}

// gather: a pixel adds up the windows that it won
template <typename T, typename Place>
__global__ void max_pool_x(const T* __restrict__ dy, const Place* __restrict__ argmax, T* __restrict__ dx, int n, int H, int W, int C, int OH,
                           int OW, int KH, int KW, int stride, int pad) {
  GRID_STRIDE(at, n) {
    const int c = at % C, w = at / C % W, h = at / C / W % H, image = at / C / W / H;
    T sum = 0;
    for (int oh = max(0, (h + pad - KH + stride) / stride); oh <= min((h + pad) / stride, OH - 1); ++oh)
      for (int ow = max(0, (w + pad - KW + stride) / stride); ow <= min((w + pad) / stride, OW - 1); ++ow) {
        const int window = ((image * OH + oh) * OW + ow) * C + c;
        const int place = (h + pad - oh * stride) * KW + w + pad - ow * stride;
        if (int(argmax[window]) == place) sum += dy[window];
      }
    dx[at] = sum;
  }
}

template <typename T, typename Place>
__global__ void max_pool_t(const T* __restrict__ tx, const Place* __restrict__ argmax, T* __restrict__ ty, int n, int H, int W, int C, int OH,
                           int OW, int KW, int stride, int pad) {
  GRID_STRIDE(at, n) {
    const int c = at % C, ow = at / C % OW, oh = at / C / OW % OH, image = at / C / OW / OH, place = argmax[at];
    const int h = oh * stride - pad + place / KW, w = ow * stride - pad + place % KW;
    ty[at] = tx[((image * H + h) * W + w) * C + c];
  }
}
