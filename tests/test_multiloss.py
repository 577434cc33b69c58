"""The whole joint gradient over every parameter tensor, in every reading."""

import numpy as np
import pytest
from made import awake

from gland import prior
from gland.gradcheck import check_parameters
from gland.networks import MultiLoss, Prediction
from gland.networks.base import Objective

RNG = np.random.default_rng(0)
X, MASK, LABEL = RNG.standard_normal((2, 3, 32, 32)), (RNG.random((2, 32, 32)) > 0.5) * 1.0, np.array([0, 1])


def network(kind="joint", **options):
    return awake(MultiLoss(kind, width=2, seed=3, dtype=float, **options))


def total(net, reading="balanced-weight", prior_gradient="detached", lam=0.3):
    x = X.astype(net.flat.dtype)
    return net.loss_and_grad(x, MASK.astype(net.flat.dtype), LABEL, Objective(lam, reading, prior_gradient)).total


def held(f):
    """f as a constant: what the detached reading differentiates is a loss in which f does not move."""
    return f.real.astype(f.dtype)


CHOICES = [  # every pair of choices at least once
    ("balanced-weight", "gradient", "margin"), ("balanced-weight", "gradient-activation", "probability"),
    ("weight", "gradient", "probability"), ("weight", "gradient-activation", "margin"),
    ("soft-target", "gradient", "margin"), ("soft-target", "gradient-activation", "probability"),
]  # fmt: skip


@pytest.mark.parametrize(("reading", "kind", "score"), CHOICES)
def test_the_joint_gradient_with_f_exact(reading, kind, score):
    net = network(prior_kind=kind, eq3_of=score)
    report = check_parameters(lambda net: total(net, reading, "exact"), net, elements=1)
    report.assert_ok()
    assert len(report.rows) == len(net.parameters())


@pytest.mark.parametrize("reading", ("balanced-weight", "weight", "soft-target"))
def test_the_joint_gradient_with_f_detached(reading, monkeypatch):
    combine = prior.combine
    monkeypatch.setattr(prior, "combine", lambda *a: (lambda f, *rest: (held(f), *rest))(*combine(*a)))
    check_parameters(lambda net: total(net, reading, "detached"), network(), elements=1).assert_ok()


def test_f_exact_and_f_detached_differ():
    # without holding f still, the detached gradient is not the derivative: the two readings are really two
    assert not check_parameters(lambda net: total(net, "soft-target", "detached"), network(), elements=1).ok


OFF = [{"kind": "class"}, {"kind": "seg"}, {"kind": "seg", "skip": False}, {"skip": False}, {"use_prior": False}]
OFF += [{"use_scores": False}, {"use_prior": False, "use_scores": False}]


@pytest.mark.parametrize("options", OFF, ids=str)
def test_the_parts_and_the_ablations(options):
    check_parameters(lambda net: total(net, prior_gradient="exact"), network(**options), elements=1).assert_ok()


def test_pretraining_touches_the_classifier_alone():
    net = network()
    net.zero_grad()
    net.class_loss_and_grad(X, LABEL)
    for name, gradient in net.gradients().items():
        assert gradient.any() == name.startswith("classifier")


MISTAKES = {  # where it is planted, and what it makes of the function there
    "x for its tangent": lambda net: (
        net.classifier.stages[2].conv2, "second_order", lambda right: lambda tx, dy, cache: right(cache.x, dy, cache),
    ),
    "without the second-order pass": lambda net: (
        net.classifier, "second_order", lambda right: lambda u, sent, cache: np.zeros((2, 2), u[0].dtype),
    ),
    "lambda forgotten": lambda net: (
        net, "backward", lambda right: lambda run, da, dseg, df: right(run, da / 0.3, dseg, df),
    ),
    "skip gradient dropped": lambda net: (
        net.classifier.stages[1], "backward", lambda right: lambda dz, c, dfeatures, first: right(dz, c, None, first),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_in_the_joint_gradient_is_caught(mistake, monkeypatch):
    net = network(eq3_of="probability")
    owner, name, wrong = MISTAKES[mistake](net)
    monkeypatch.setattr(owner, name, wrong(getattr(owner, name)))
    assert not check_parameters(lambda net: total(net, "soft-target", "exact"), net, elements=1).ok


def test_eq6_is_the_larger_logit_and_a_tie_is_background():
    logits = np.array([[2.0, -1.0], [0.5, 0.5], [-3.0, 0.0]])  # of gland, of background
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert Prediction(None, p[None, None, :, 0], None, ()).gland_mask().tolist() == [[[True, False, False]]]


def test_float32_gradients_agree_with_float64():
    net = network()
    net.zero_grad()
    total(net, prior_gradient="exact")
    exact = net.flat_grad.copy()
    net.flatten(np.float32)
    net.zero_grad()
    total(net, prior_gradient="exact")
    assert np.linalg.norm(net.flat_grad - exact) <= 1e-4 * np.linalg.norm(exact)
