// A pooling of x (N,H,W,C) to y (N,OH,OW,C); gland/ops/device/pool.py names them as well.
struct Pool {
  int H, W, C, OH, OW, KH, KW, stride, pad;
};

// Element `at` of an array (N,height,width,C): its channel, its row i, its column j, its image.
struct Element {
  int c, j, i, image;
  __device__ Element(int at, int height, int width, int C)
      : c(at % C), j(at / C % width), i(at / C / width % height), image(at / C / width / height) {}
};

// The windows first..last along one axis of OH that see row h: oh * stride - pad <= h < oh * stride - pad + KH.
struct Span {
  int first, last;
  __device__ Span(int h, int KH, int OH, const Pool& s)
      : first(max(0, (h + s.pad - KH + s.stride) / s.stride)), last(min((h + s.pad) / s.stride, OH - 1)) {}
};
