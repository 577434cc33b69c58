"""The layers' exercises."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from exercises.cases.tools import layer_claims, locked, random
from exercises.diagnosis import Claim
from gland import ops
from gland.gradcheck import complex_step

LOST = "dx has lost dy: dx[..., low] += v keeps only the last of several v for one place; np.add.at keeps all."
EXCHANGED = "dx: the weights t and 1 - t are exchanged."
BIAS = "ty contains the bias: a constant does not move, so a tangent has none of it."


def linear(module: ModuleType) -> Iterator[Claim | str]:
    x, w, b = random(1, 3, 5), random(2, 4, 5), random(3, 4)

    def wrong(dy, tx):
        return {"ty": {BIAS: tx @ w.T + b}}

    yield from layer_claims(module.Linear(w, b), x, x @ w.T + b, wrong, {"N": 3})


def relu(module: ModuleType) -> Iterator[Claim | str]:
    x = random(1, 3, 4, 5)

    def mistakes(name, v):
        return {
            f"{name}: the mask is missing.": v,
            f"{name} is rectified instead of masked: what counts is where x > 0, not where it is positive itself.": np.maximum(
                v, 0
            ),
            f"{name} is masked by x > 0 and then rectified as well; the mask is enough.": np.maximum(v, 0) * (x > 0),
            f"{name} is let through where x < 0 and stopped where x > 0: the mask is inverted.": v * (x <= 0),
            f"{name} is multiplied by y; the mask is 0 or 1, since y grows as fast as x.": v * np.maximum(x, 0),
        }

    yield from layer_claims(
        module.ReLU(), x, np.maximum(x, 0), lambda dy, tx: {"dx": mistakes("dx", dy), "ty": mistakes("ty", tx)}
    )


def conv(module: ModuleType) -> Iterator[Claim | str]:
    for stride, pad, kernel, where in ((1, 1, (3, 3), ""), (2, 1, (3, 2), " at stride 2")):
        x, w, b = random(1, 2, 3, 6, 5), random(2, 4, 3, *kernel), random(3, 4)
        geo = ops.Geometry(stride, pad)
        y = ops.conv(x, w, b, geo)

        def wrong(dy, tx, x=x, w=w, b=b, geo=geo, where=where):
            kernel, size = w.shape[2:], x.shape[2:]
            turned, dw = w[:, :, ::-1, ::-1], ops.conv_w(x, dy, geo, kernel)
            whole = ops.conv_x(dy, w, geo._replace(pad=0), tuple(n + 2 * geo.pad for n in size))
            return {
                "dx": {
                    f"dx{where} has the right size but the kernel is flipped: place (a, e) of the kernel sends dy back to "
                    "where it took xp from.": ops.conv_x(dy, turned, geo, size),
                    f"dx{where} is cut out of the padded gradient at the wrong place: x begins {geo.pad} rows and columns "
                    "inside it.": whole[:, :, : size[0], : size[1]],
                },
                "dw": {
                    f"dw{where} has the right size but the kernel is flipped.": dw[:, :, ::-1, ::-1],
                    f"dw{where} is that of the first image: sum over n.": ops.conv_w(x[:1], dy[:1], geo, kernel),
                },
                "db": {f"db{where} is that of the first image: sum over n.": dy[0].sum(axis=(1, 2))},
                "ty": {BIAS: ops.conv(tx, w, b, geo)},
            }

        oh, ow = y.shape[2:]
        sizes = {"N": 2, "OH OW": oh * ow, "N OH OW": 2 * oh * ow, "KH KW": kernel[0] * kernel[1]}
        yield from layer_claims(module.Conv2d(w, b, stride, pad), x, y, wrong, sizes, where)


def deconv(module: ModuleType) -> Iterator[Claim | str]:
    x, w, b, geo = random(1, 2, 3, 4, 3), random(2, 3, 4, 3, 3), random(3, 4), ops.Geometry(2)
    y = ops.conv_x(x, w, geo, (9, 7)) + b[:, None, None]

    def wrong(dy, tx):
        turned = "has the right size but the kernel is flipped"
        return {
            "dx": {f"dx {turned}.": ops.conv(dy, w[:, :, ::-1, ::-1], None, geo)},
            "dw": {f"dw {turned}.": ops.conv_w(dy, x, geo, (3, 3))[:, :, ::-1, ::-1]},
            "ty": {BIAS: ops.conv_x(tx, w, geo, (9, 7)) + b[:, None, None]},
        }

    sizes = {"N": 2, "OH OW": 63, "N OH OW": 126, "KH KW": 9, "s s": 4}
    yield from layer_claims(module.Deconv2d(w, b, 2), x, y, wrong, sizes)


def max_pool(module: ModuleType) -> Iterator[Claim | str]:
    ties = locked(np.random.default_rng(1).integers(0, 3, (2, 2, 7, 7)).astype(float))
    for x, k, s, where in (
        (random(1, 2, 2, 6, 6), 2, 2, ""),
        (ties, 3, 2, " where windows overlap and elements are equal"),
    ):
        y, argmax = ops.max_pool(x, (k, k), s, 0, False)

        def wrong(dy, tx, x=x, k=k, s=s, where=where, y=y, argmax=argmax):
            windows = np.lib.stride_tricks.sliding_window_view(tx, (k, k), axis=(2, 3))[:, :, ::s, ::s]
            every, lost, shared, last = (np.zeros(x.shape) for _ in range(4))
            for place in np.ndindex(*y.shape):
                n, c, i, j = place
                rows, columns = slice(i * s, i * s + k), slice(j * s, j * s + k)
                winners = x[n, c, rows, columns] == y[place]
                every[n, c, rows, columns] += winners * dy[place]
                shared[n, c, rows, columns] += dy[place] / k**2
                a, e = np.argwhere(winners)[-1]
                last[n, c, i * s + a, j * s + e] += dy[place]
                a, e = divmod(int(argmax[place]), k)
                lost[n, c, i * s + a, j * s + e] = dy[place]
            return {
                "dx": {
                    f"dx{where} goes to every element that equals its window's maximum; of equals only the first won.": every,
                    f"dx{where} is overwritten: an element that wins several windows gets the sum of their dy.": lost,
                    f"dx{where} is shared out among the whole window; only its winner moved y.": shared,
                    f"dx{where} goes to the last of equal elements; the first won.": last,
                },
                "ty": {
                    f"ty{where} is each window's largest tangent; it is the winner's tangent.": windows.max(axis=(4, 5))
                },
            }

        yield from layer_claims(module.MaxPool2d(k, s), x, y, wrong, {"K K": k * k}, where)


def bilinear(module: ModuleType) -> Iterator[Claim | str]:
    x, size = random(1, 2, 2, 3, 4), (7, 9)
    layer = module.UpsampleBilinear(size)

    along = random(2, 3, 9)
    low, high, t = layer.places(4, 9)
    lost, exchanged = np.zeros((2, 3, 4))
    lost[..., low] += (1 - t) * along
    lost[..., high] += t * along
    np.add.at(exchanged, (..., low), t * along)
    np.add.at(exchanged, (..., high), (1 - t) * along)
    yield Claim(
        "dx of along_last_grad",
        layer.along_last_grad(along, 4),
        complex_step(lambda v: (layer.along_last(v, 9) * along).sum(), random(3, 3, 4)),
        {LOST: lost, EXCHANGED: exchanged},
        {"m / n": 9 / 4},
    )

    def wrong(dy, tx):
        down = ops.upsample_bilinear(dy, x.shape[2:])
        return {
            "dx": {"dx is dy interpolated down to x's size; each dy has to go back with the weight it came with.": down}
        }

    yield from layer_claims(layer, x, ops.upsample_bilinear(x, size), wrong, {"OH OW": 63, "H W": 12})
