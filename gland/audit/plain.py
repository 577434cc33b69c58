"""The formulas again, in plain loops and exact arithmetic. Nothing is imported from the package, nor from NumPy.

Arrays are nested lists. What only adds, multiplies and compares runs on fractions.Fraction: every float is a fraction,
so the result is the formula's exact value. Exponentials and logarithms run on decimal.Decimal with 50 digits. What
differs from the package is then the package's own rounding, or its mistake.
"""

from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 50


def exact(values):
    """Nested lists of floats -> of fractions, without rounding."""
    return [exact(v) for v in values] if isinstance(values, list) else Fraction(values)


def decimals(values):
    """Nested lists of floats -> of 50-digit decimals."""
    return [decimals(v) for v in values] if isinstance(values, list) else Decimal(values)


def zeros(*shape):
    return [zeros(*shape[1:]) for _ in range(shape[0])] if shape else 0


def shape(x):
    return (len(x), *shape(x[0])) if isinstance(x, list) else ()


def conv(x, w, b, stride, pad, dilation, groups):
    """y[n][o][i][j] = b[o] + sum over c, kh, kw of w[o][c][kh][kw] x[n][c'][i s - p + kh d][j s - p + kw d]"""
    (n_, _, h, wd), (o_, cg, kh_, kw_) = shape(x), shape(w)
    oh = (h + 2 * pad - dilation * (kh_ - 1) - 1) // stride + 1
    ow = (wd + 2 * pad - dilation * (kw_ - 1) - 1) // stride + 1
    y = zeros(n_, o_, oh, ow)
    for n in range(n_):
        for o in range(o_):
            first = o // (o_ // groups) * cg
            for i in range(oh):
                for j in range(ow):
                    total = b[o]
                    for c in range(cg):
                        for kh in range(kh_):
                            for kw in range(kw_):
                                row, column = i * stride - pad + kh * dilation, j * stride - pad + kw * dilation
                                if 0 <= row < h and 0 <= column < wd:
                                    total += w[o][c][kh][kw] * x[n][first + c][row][column]
                    y[n][o][i][j] = total
    return y


def deconv(x, w, b, stride, pad, output_pad):
    """Every x[n][c][i][j] paints w[c][o] times itself at row i s - p, column j s - p; then b[o] is added."""
    (n_, c_, h, wd), (_, o_, kh_, kw_) = shape(x), shape(w)
    oh, ow = (h - 1) * stride - 2 * pad + kh_ + output_pad, (wd - 1) * stride - 2 * pad + kw_ + output_pad
    y = [[[[b[o]] * ow for _ in range(oh)] for o in range(o_)] for _ in range(n_)]
    for n in range(n_):
        for c in range(c_):
            for i in range(h):
                for j in range(wd):
                    for o in range(o_):
                        for kh in range(kh_):
                            for kw in range(kw_):
                                row, column = i * stride - pad + kh, j * stride - pad + kw
                                if 0 <= row < oh and 0 <= column < ow:
                                    y[n][o][row][column] += x[n][c][i][j] * w[c][o][kh][kw]
    return y


def _windows(x, kernel, stride, pad, ceil_mode, reduce):
    """reduce([(value, row, column), ...]) of every window, places outside the image left out."""
    n_, c_, h, w = shape(x)

    def count(length, k):
        whole, rest = divmod(length + 2 * pad - k, stride)
        n = whole + 1 + (1 if ceil_mode and rest else 0)
        return n - 1 if ceil_mode and (n - 1) * stride >= length + pad else n

    oh, ow = count(h, kernel[0]), count(w, kernel[1])
    y = zeros(n_, c_, oh, ow)
    for n in range(n_):
        for c in range(c_):
            for i in range(oh):
                for j in range(ow):
                    rows = range(i * stride - pad, i * stride - pad + kernel[0])
                    columns = range(j * stride - pad, j * stride - pad + kernel[1])
                    inside = [(r, q) for r in rows for q in columns if 0 <= r < h and 0 <= q < w]
                    y[n][c][i][j] = reduce([(x[n][c][r][q], r, q) for r, q in inside])
    return y


def max_pool(x, kernel, stride, pad, ceil_mode):
    return _windows(x, kernel, stride, pad, ceil_mode, lambda window: max(v for v, _, _ in window))


def max_pool_x(dy, x, kernel, stride, pad, ceil_mode):
    """Each dy goes to the first of its window's largest elements."""

    def first_winner(window):
        best = window[0]
        for candidate in window[1:]:
            if candidate[0] > best[0]:
                best = candidate
        return best

    winners = _windows(x, kernel, stride, pad, ceil_mode, first_winner)
    dx = zeros(*shape(x))
    for n, per_image in enumerate(winners):
        for c, plane in enumerate(per_image):
            for i, line in enumerate(plane):
                for j, (_, row, column) in enumerate(line):
                    dx[n][c][row][column] += dy[n][c][i][j]
    return dx


def avg_pool(x, kernel, stride, pad):
    size = kernel[0] * kernel[1]
    return _windows(x, kernel, stride, pad, False, lambda window: sum(v for v, _, _ in window) / size)


def global_avg_pool(x):
    n_, c_, h, w = shape(x)
    return [[sum(sum(line) for line in x[n][c]) / (h * w) for c in range(c_)] for n in range(n_)]


def _bilinear_taps(n, out, i):
    """Where output pixel i of `out` falls among n inputs, centres at half-integers: two neighbours and their weights."""
    position = min(max((Fraction((2 * i + 1) * n, out) - 1) / 2, Fraction(0)), Fraction(n - 1))
    low = int(position)
    return [(low, 1 - (position - low)), (min(low + 1, n - 1), position - low)]


def upsample_bilinear_plane(x, size):
    """One plane (h, w) -> size."""
    h, w = shape(x)
    rows = [_bilinear_taps(h, size[0], i) for i in range(size[0])]
    columns = [_bilinear_taps(w, size[1], j) for j in range(size[1])]
    return [[sum(a * b * x[r][q] for r, a in row for q, b in column) for column in columns] for row in rows]


def upsample_bilinear(x, size):
    return [[upsample_bilinear_plane(plane, size) for plane in image] for image in x]


def upsample_nearest(x, size):
    _, _, h, w = shape(x)
    return [
        [[[p[i * h // size[0]][j * w // size[1]] for j in range(size[1])] for i in range(size[0])] for p in image]
        for image in x
    ]


def relu(x):
    return [relu(v) for v in x] if isinstance(x, list) else max(x, 0 * x)


def linear(x, w, b):
    return [[b[o] + sum(w[o][d] * row[d] for d in range(len(row))) for o in range(len(w))] for row in x]


def multiply(x, y):
    return [multiply(a, b) for a, b in zip(x, y, strict=True)] if isinstance(x, list) else x * y


def softmax_of(values):
    """Eq. (2) of one list of logits."""
    powers = [v.exp() for v in values]
    total = sum(powers)
    return [p / total for p in powers]


def log_softmax_of(values):
    log_total = sum(v.exp() for v in values).ln()
    return [v - log_total for v in values]


def over_axis_1(function, x):
    """function of every vector along axis 1 of (N, L, H, W)."""
    n_, l_, h, w = shape(x)
    y = zeros(n_, l_, h, w)
    for n in range(n_):
        for i in range(h):
            for j in range(w):
                for l, value in enumerate(function([x[n][m][i][j] for m in range(l_)])):
                    y[n][l][i][j] = value
    return y


def local_response_norm_of(values, n, alpha, beta, k):
    """One pixel's channels: y_c = x_c / (k + alpha sum of x_j^2 over |j - c| <= n // 2)^beta"""
    alpha, beta, k = Decimal(alpha), Decimal(beta), Decimal(k)
    y = []
    for c, value in enumerate(values):
        near = values[max(0, c - n // 2) : c + n // 2 + 1]
        y.append(value / (k + alpha * sum(v * v for v in near)) ** beta)
    return y


def class_loss(logits, label):
    """Eqs. (1), (2), mean over the images."""
    return -sum(softmax_of(a)[l].ln() for a, l in zip(logits, label, strict=True)) / len(logits)


def class_loss_grad(logits, label):
    """Q - y, over N"""
    n = len(logits)
    return [[(q - (m == l)) / n for m, q in enumerate(softmax_of(a))] for a, l in zip(logits, label, strict=True)]


def _pixels(logits, mask, f):
    n_, h, w = shape(mask)
    for n in range(n_):
        for i in range(h):
            for j in range(w):
                p_gland, p_background = softmax_of([logits[n][0][i][j], logits[n][1][i][j]])
                yield n, i, j, p_gland, p_background, mask[n][i][j], f[n][i][j]


def soft_target_loss(logits, mask, f):
    """Eq. (4), the minus before the whole sum, mean over pixels."""
    pixels = list(_pixels(logits, mask, f))
    return -sum(s * v * g.ln() + (1 - s * v) * b.ln() for _, _, _, g, b, s, v in pixels) / len(pixels)


def weight_loss(logits, mask, f):
    pixels = list(_pixels(logits, mask, f))
    return -sum(s * v * g.ln() + (1 - s) * b.ln() for _, _, _, g, b, s, v in pixels) / len(pixels)


def balanced(mask, f):
    """f over its mean on the gland pixels of its own image; 1 where that mean is 0 or does not exist."""
    weights = []
    for s, v in zip(mask, f, strict=True):
        glands = sum(sum(line) for line in s)
        total = sum(a * b for s_line, v_line in zip(s, v) for a, b in zip(s_line, v_line))
        usable = glands > 0 and total > 0
        weights.append([[b * glands / total if usable else 1 + 0 * b for b in line] for line in v])
    return weights


def balanced_weight_loss(logits, mask, f):
    return weight_loss(logits, mask, balanced(mask, f))


def soft_target_loss_grad(logits, mask, f):
    """(P_g - S f) / J for the gland logit, its negative for the other;  S log(P_b / P_g) / J for f."""
    ds, df = zeros(*shape(logits)), zeros(*shape(mask))
    j_ = len(mask) * len(mask[0]) * len(mask[0][0])
    for n, i, j, g, b, s, v in _pixels(logits, mask, f):
        ds[n][0][i][j] = (g - s * v) / j_
        ds[n][1][i][j] = -ds[n][0][i][j]
        df[n][i][j] = s * (b / g).ln() / j_
    return ds, df


def weight_loss_grad(logits, mask, f):
    """Term by term: -S f log P_g has the gradient S f (P_g - 1), -(1 - S) log P_b has (1 - S) P_g; both over J."""
    ds, df = zeros(*shape(logits)), zeros(*shape(mask))
    j_ = len(mask) * len(mask[0]) * len(mask[0][0])
    for n, i, j, g, _, s, v in _pixels(logits, mask, f):
        ds[n][0][i][j] = (s * v * (g - 1) + (1 - s) * g) / j_
        ds[n][1][i][j] = -ds[n][0][i][j]
        df[n][i][j] = -s * g.ln() / j_
    return ds, df


def combine(g, z, size, kind):
    """f: the mean over channels of the positive part of g (or g z), over its largest value, stretched to size, mean over k."""
    k_ = len(g)
    f = zeros(len(g[0]), *size)
    for g_k, z_k in zip(g, z, strict=True):
        n_, c_, h, w = shape(g_k)
        for n in range(n_):
            c = zeros(h, w)
            for i in range(h):
                for j in range(w):
                    for m in range(c_):
                        value = g_k[n][m][i][j] * (z_k[n][m][i][j] if kind == "gradient-activation" else 1)
                        c[i][j] += max(value, 0) / Fraction(c_)
            peak = max(max(line) for line in c)
            plane = upsample_bilinear_plane([[v / peak for v in line] for line in c], size)
            for i in range(size[0]):
                for j in range(size[1]):
                    f[n][i][j] += plane[i][j] / k_
    return f
