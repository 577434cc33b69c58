"""The exercises that go through the tiny network: Eq. (3), and its second-order pass."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from exercises.cases.tools import locked, random
from exercises.diagnosis import Claim, same
from exercises.tiny import Tiny
from gland import ops, prior
from gland.gradcheck import complex_step

X, LABEL = random(1, 3, 1, 8, 12), locked(np.array([0, 1, 1]))
BEFORE = locked(np.full(1, 0.25))  # gradients that were there already, to see that what is new is added


def score(logits):
    """The sum over the images of Q_l."""
    return ops.softmax(logits)[np.arange(len(LABEL)), LABEL].sum()


def from_z(net, k, z):
    """The logits when z_k (k = 1 or 2) is z."""
    if k == 1:
        z = net.pool2.forward(net.conv2.forward(z)[0])[0]
    return net.mean.forward(net.head.forward(z)[0])[0]


def pooling_gradients(module: ModuleType) -> Iterator[Claim | str]:
    net = Tiny()
    logits, cache = net.forward(X)
    q, d = ops.softmax(logits), np.eye(2)[LABEL]
    q_l = (q * d).sum(axis=1, keepdims=True)
    every_one = [prior.probability_score_grad(logits, LABEL * 0 + l) for l in (0, 1)]
    yield Claim(
        "dQ_l/da of score_grad",
        module.score_grad(logits, LABEL),
        complex_step(score, logits),
        {
            "dQ_l/da: that is the derivative of the logit a_l; the score is Q_l.": d,
            "dQ_l/da: the factor Q_l in front is missing.": d - q,
            "dQ_l/da: the factor in front is Q_l, the same for every m, not Q_m.": q * (d - q),
            "dQ_l/da is that of the other class: look at which column is l.": -q_l * (d - q),
            "dQ_l/da is that of class 1 for every image; l is each image's own label.": every_one[1],
            "dQ_l/da is that of class 0 for every image; l is each image's own label.": every_one[0],
        },
    )
    g = module.pooling_gradients(net, logits, LABEL, cache)
    if not isinstance(g, (list, tuple)) or len(g) != 2:
        yield "pooling_gradients returns something else than a list of two; it returns [g_1, g_2]."
    if any(getattr(layer, "d" + name).any() for layer in net.with_parameters().values() for name in layer.names):
        yield "A weight's gradient was added to: Eq. (3) is no training step, so use input_grad, not backward."
    truth = [complex_step(lambda v, k=k: score(from_z(net, k, v)), cache.z[k - 1]) for k in (1, 2)]
    if same(np.asarray(g[0]), truth[1]) and same(np.asarray(g[1]), truth[0]):
        yield "The list is in the backward pass's order; g_1 comes first."
    if np.shape(g[0]) == (3, 2, 8, 12):
        yield "g_1 is the derivative at what enters pool 1; z_1 is what leaves it, so the pass stops one layer earlier."
    da = prior.probability_score_grad(logits, LABEL)
    g2 = net.head.input_grad(net.mean.input_grad(da, cache.mean), cache.head)
    margin = net.head.input_grad(net.mean.input_grad(prior.margin_score_grad(logits, LABEL), cache.mean), cache.head)
    dy = net.pool2.input_grad(g2, cache.pool2)
    no_mask = ops.conv_x(dy, net.conv2.w, net.conv2.geo, cache.z[0].shape[2:])
    sizes = {"h w of z_2": cache.z[1].shape[2] * cache.z[1].shape[3], "N": 3}
    yield Claim(
        "g_2",
        g[1],
        truth[1],
        {"g_2 is the margin's, a_l less the other logit; the score here is Q_l.": margin},
        sizes,
    )
    yield Claim("g_1", g[0], truth[0], {"g_1: the rectifier's mask in conv2 is missing.": no_mask}, sizes)


def second_order(module: ModuleType) -> Iterator[Claim | str]:
    logits, cache = Tiny().forward(X)
    u = [random(4 + k, *z.shape) for k, z in enumerate(cache.z)]
    net = _with(BEFORE, lambda net: module.second_order(net, u, logits, LABEL, cache))
    wrong = {
        text: _with(BEFORE, lambda net, flags=flags: _second_order(net, u, logits, cache, **flags))
        for text, flags in _MISTAKES.items()
    }
    for name, layer in reversed(Tiny().with_parameters().items()):
        for p in layer.names:
            yours = getattr(getattr(net, name), "d" + p)
            truth = _numeric(name, p, u)
            if not same(truth, np.zeros_like(truth)) and same(yours, truth):
                yield f"{name}.d{p} is overwritten; gradients add (+=)."
            candidates = {text: getattr(getattr(w, name), "d" + p) for text, w in wrong.items()}
            yield Claim(
                f"{name}.d{p}", yours - BEFORE[0], truth, {text: d - BEFORE[0] for text, d in candidates.items()}
            )
            # a mistake that would have shown in this gradient was not made
            wrong = {text: w for text, w in wrong.items() if same(candidates[text], yours)}


def _with(before, run):
    net = Tiny()
    for layer in net.with_parameters().values():
        for name in layer.names:
            getattr(layer, "d" + name)[...] = before[0]
    run(net)
    return net


def _numeric(name, p, u):
    """ds/dp of one parameter by a complex step through Eq. (3)'s backward pass."""
    net = Tiny()
    layer = getattr(net, name)
    for other in net.with_parameters().values():
        for n in other.names:
            setattr(other, n, getattr(other, n).astype(complex))

    def s(value):
        setattr(layer, p, value)
        logits, cache = net.forward(X.astype(complex))
        da = prior.probability_score_grad(logits, LABEL)
        g2 = net.head.input_grad(net.mean.input_grad(da, cache.mean), cache.head)
        g1 = net.conv2.input_grad(net.pool2.input_grad(g2, cache.pool2), cache.conv2)
        return (u[0] * g1).sum() + (u[1] * g2).sum()

    return complex_step(s, getattr(Tiny(), name).__dict__[p])


_MISTAKES = {
    "u_2 is not injected at z_2: the tangent there is what arrives from z_1, plus u_2.": {"inject": (1, 0)},
    "u_1 is not injected: the tangent starts at z_1.": {"inject": (0, 1)},
    "The curvature is missing: Q_l is not linear in the logits, so ds/da is not zero.": {"curved": False},
    "The tangent goes back from the logits as it is; it has to go through curvature first.": {"through": False},
    "Only the curvature's backward pass is there; the convolutions that meet the tangent get nothing.": {"meet": False},
    "The second-order term of conv2 takes the activations where the tangent belongs.": {"activations": (1, 0)},
    "The second-order term of score takes the activations where the tangent belongs.": {"activations": (0, 1)},
    "The second-order terms take the activations where the tangent belongs.": {"activations": (1, 1)},
    "The tangent passes conv2 without its rectifier's mask.": {"masked": False},
}


def _second_order(
    net, u, logits, cache, inject=(1, 1), curved=True, through=True, meet=True, activations=(0, 0), masked=True
):
    da = prior.probability_score_grad(logits, LABEL)
    into_head = net.mean.input_grad(da, cache.mean)
    into_conv2 = net.pool2.input_grad(net.head.input_grad(into_head, cache.head), cache.pool2)
    t = inject[0] * u[0]
    after = net.conv2.tangent(t, cache.conv2) if masked else ops.conv(t, net.conv2.w, None, net.conv2.geo)
    t2 = net.pool2.tangent(after, cache.pool2) + inject[1] * u[1]
    if meet:
        net.conv2.second_order(cache.z[0] if activations[0] else t, into_conv2, cache.conv2)
        net.head.second_order(cache.z[1] if activations[1] else t2, into_head, cache.head)
    ta = net.mean.tangent(net.head.tangent(t2, cache.head), cache.mean)
    if curved:
        da = prior.probability_score_curvature(logits, LABEL, ta) if through else ta
        dy = net.head.backward(net.mean.backward(da, cache.mean), cache.head)
        dy = net.conv2.backward(net.pool2.backward(dy, cache.pool2), cache.conv2)
        net.conv1.backward(net.pool1.backward(dy, cache.pool1), cache.conv1)
