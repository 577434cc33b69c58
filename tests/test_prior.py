"""Eq. (3) against the complex step at every pooling layer; its combination into f, and f's own gradient."""

import numpy as np
import pytest
from made import awake

from gland import ops, prior
from gland.gradcheck import check_function, check_parameters
from gland.networks import MultiLoss

RNG = np.random.default_rng(0)
LOGITS, L = RNG.standard_normal((3, 2)), np.array([0, 1, 1])


X = RNG.standard_normal((1, 3, 64, 64))


def classifier(dtype=float):
    return awake(MultiLoss("class", width=2, seed=3, dtype=dtype)).classifier


def score_from(cls, k, z, l):
    """Q_l as a function of z_k: the classifier from pooling layer k upwards."""
    for stage in cls.stages[k + 1 :]:
        z, _ = stage.forward(z)
    y, _ = cls.head.forward(z)
    a, _ = cls.mean.forward(y)
    return ops.softmax(a)[:, l].sum()


CLASSIFIER = classifier()


@pytest.mark.parametrize("l", [0, 1])
def test_eq3_is_the_derivative_of_the_score_at_every_pooling_layer(l):
    a, cache = CLASSIFIER.forward(X)
    g, _ = CLASSIFIER.pooling_gradients(prior.probability_score_grad(a, np.array([l])), cache)
    for k, (g_k, z_k) in enumerate(zip(g, cache.pooled, strict=True)):
        assert g_k.any()  # something of it reaches the score
        check_function(lambda z, k=k: score_from(CLASSIFIER, k, z, l), lambda _, g_k=g_k: g_k, z_k).assert_ok()


def test_the_derivatives_of_two_classes_are_opposite():
    a, cache = CLASSIFIER.forward(X)
    scores = (prior.probability_score_grad(a, np.array([l])) for l in (0, 1))
    benign, malignant = (CLASSIFIER.pooling_gradients(score, cache)[0] for score in scores)
    for b, m in zip(benign, malignant, strict=True):
        np.testing.assert_allclose(b, -m, rtol=0, atol=1e-15 * np.abs(b).max())


def maps_of_both_scores(margin, dtype):
    net = classifier(dtype)
    a, cache = np.array([[-margin, margin]], dtype) / 2, net.forward(X.astype(dtype))[1]
    for score in prior.SCORES.values():
        g, _ = net.pooling_gradients(score.grad(a, np.array([1])), cache)
        yield prior.combine(g, cache.pooled, (64, 64), "gradient")[0]


@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 1e-13), (np.float32, 2e-6)])
@pytest.mark.parametrize("margin", [-40, 0.1, 20, 40])
def test_margin_and_probability_give_the_same_f(margin, dtype, most):
    maps = list(maps_of_both_scores(margin, dtype))
    np.testing.assert_allclose(*maps, rtol=0, atol=most)
    assert maps[0].max() > 0


def test_a_subtraction_that_cancels_is_caught(monkeypatch):
    monkeypatch.setattr(prior, "_from_others", lambda q, one_hot: one_hot - q)
    right, wrong = maps_of_both_scores(40, np.float64)
    assert np.abs(right - wrong).max() > 0.01


def test_the_margin_survives_where_the_probability_underflows():
    sure = np.array([[60.0, -60.0]], np.float32)
    assert np.abs(prior.probability_score_grad(sure, np.array([0]))).max() < 1e-30
    assert np.abs(prior.margin_score_grad(sure, np.array([0]))).max() == 1


@pytest.mark.parametrize("name", prior.SCORES)
def test_score_derivative_and_curvature(name):
    score, ta = prior.SCORES[name], RNG.standard_normal(LOGITS.shape)
    slope = lambda a: (score.grad(a, L) * ta).sum() + 0j  # noqa: E731
    check_function(slope, lambda a: score.curvature(a, L, ta), LOGITS).assert_ok()
    if name == "probability":
        value = lambda a: sum(ops.softmax(a)[n, l] for n, l in enumerate(L))  # noqa: E731
        check_function(value, lambda a: score.grad(a, L), LOGITS).assert_ok()


SIZES = [(2, 3, 8, 10), (2, 4, 4, 5)]
G, Z = ([RNG.standard_normal(s) for s in SIZES] for _ in range(2))


@pytest.mark.parametrize("kind", prior.PRIORS)
@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_of_f_in_g_and_in_z(kind, which):
    df = RNG.standard_normal((2, 16, 20))

    def value(a, where):
        g, z = [list(part) for part in (G, Z)]
        (g if where == "g" else z)[which] = a
        f, _, _ = prior.combine([m + 0j for m in g], [m + 0j for m in z], (16, 20), kind)
        return (f * df).sum()

    dg, dz = prior.combine_grad(df, prior.combine(G, Z, (16, 20), kind)[2], kind)
    check_function(lambda a: value(a, "g"), lambda _: dg[which], G[which]).assert_ok()
    assert (dz[which] is None) == (kind == "gradient")
    if dz[which] is not None:
        check_function(lambda a: value(a, "z"), lambda _: dz[which], Z[which]).assert_ok()


def second_order(score):
    """The gradient of sum_k <u_k, g_k> over every weight of the classifier, checked."""
    x, l = X[:, :, :32, :32], np.array([1])
    u = [RNG.standard_normal((1, c, n, n)) for c, n in zip((2, 4, 8, 16, 16), (16, 8, 4, 2, 1), strict=True)]

    def added(net):
        a, cache = net.classifier.forward(x.astype(net.flat.dtype))
        g, sent = net.classifier.pooling_gradients(score.grad(a, l), cache)
        ta = net.classifier.second_order([u_k.astype(a.dtype) for u_k in u], sent, cache)
        net.classifier.backward(score.curvature(a, l, ta), cache)
        return sum((u_k * g_k).sum() for u_k, g_k in zip(u, g, strict=True))

    return check_parameters(added, MultiLoss("class", width=2, seed=3, dtype=float))


@pytest.mark.parametrize("name", prior.SCORES)
def test_the_second_order_pass_over_every_weight(name):
    second_order(prior.SCORES[name]).assert_ok()


def test_a_forgotten_curvature_of_the_softmax_is_caught():
    # seen in the derivatives themselves; in f it vanishes, since two classes' curvature only rescales every g_k alike
    assert not second_order(prior.SCORES["probability"]._replace(curvature=lambda a, l, ta: ta * 0)).ok


@pytest.mark.parametrize("kind", prior.PRIORS)
def test_f_lies_in_0_to_1_and_every_layer_reaches_1(kind):
    f, maps, _ = prior.combine(G, Z, (16, 20), kind)
    assert f.shape == (2, 16, 20) and 0 <= f.min() and f.max() <= 1
    assert all(np.allclose(n.reshape(2, -1).max(axis=1), 1) for n in maps)


def test_a_prior_that_is_zero_everywhere_stays_zero_and_finite():
    g = [-np.abs(a) for a in G]  # no positive part
    f, _, cache = prior.combine(g, Z, (16, 20), "gradient")
    dg, _ = prior.combine_grad(np.ones_like(f), cache, "gradient")
    assert not f.any() and not any(d.any() for d in dg)


def test_a_forgotten_peak_is_caught():
    # n = c / max c: without the peak's share the gradient of f is wrong
    df = RNG.standard_normal((2, 16, 20))
    cache = prior.combine(G, Z, (16, 20), "gradient")[2]
    dn = ops.upsample_bilinear_x(df[:, None] / 2, (8, 10))
    wrong, _ = prior.gradient_grad(dn / cache.means[0].max(axis=(2, 3), keepdims=True), G[0], Z[0])
    value = lambda g: (prior.combine([g, G[1] + 0j], Z, (16, 20), "gradient")[0] * df).sum()  # noqa: E731
    assert not check_function(value, lambda _: wrong, G[0]).ok
