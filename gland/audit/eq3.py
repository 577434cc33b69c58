"""Eq. (3) at every pooling layer, and its second-order pass over every parameter of the classifier."""

from typing import Any

import numpy as np

from gland import prior
from gland.audit import plain_network
from gland.audit.evidence import KINDS, Section, both_zero, difference
from gland.audit.example import as_complex, batch, network, probe
from gland.gradcheck.numeric import scaled_gap
from gland.networks.classifier import Classifier
from gland.networks.multiloss import MultiLoss

Array = Any
NETWORK = KINDS["network"]


def eq3(quick: bool = False) -> Section:
    section = Section(
        "Eq. 3",
        "Eq. 3: the class score's derivative at every pooling layer",
        r"f_k = \frac{\partial Q_l}{\partial z_k}",
        [Classifier.pooling_gradients, prior.probability_score_grad],
        [Classifier.second_order, prior.probability_score_curvature],
    )
    section.notes = (
        "The transcription moves the elements of z_k one by one and looks at the score. The second-order pass is the "
        "gradient of sum_k <u_k, f_k> in every parameter of the classifier, u_k held still."
    )
    images, _, label = batch()
    net = network(eq3_of="probability")
    w = {path: value.astype(complex) for path, value in net.parameters().items()}
    rng = np.random.default_rng(12)
    for score in prior.SCORES:
        grad, curvature = prior.SCORES[score]
        logits, cache = net.classifier.forward(images)
        g, sent = net.classifier.pooling_gradients(grad(logits, label), cache)
        for n in range(1 if quick and score == "margin" else 2):
            image = images[n : n + 1].astype(complex)
            expected, pooled = plain_network.PlainJoint(w).eq3(image, label[n], score)
            for k, (ours, theirs) in enumerate(zip(g, expected), 1):
                what = f"d {score} / d z_{k}, image {n + 1}, one element after the other"
                section.compare("formula", what, ours[n], theirs[0].real, NETWORK)
            if score == "probability":
                for k, (ours, theirs) in enumerate(zip(cache.pooled, pooled), 1):
                    section.compare("formula", f"z_{k}, image {n + 1}", ours[n], theirs[0].real, NETWORK)
        u = [rng.standard_normal(g_k.shape) for g_k in g]
        net.zero_grad()
        ta = net.classifier.second_order(u, sent, cache)
        us, gs = (np.concatenate([v.ravel() for v in vs]) for vs in (u, g))
        gap = scaled_gap(us, gs, ta, grad(logits, label))
        section.add("adjoint", f"sum <u_k, f_k> = the {score}'s tangent along u", gap)
        net.classifier.backward(curvature(logits, label, ta), cache)
        _second_order(section, net, score, images, label, u)
    return section


def _second_order(section: Section, net: MultiLoss, score: str, images: Array, label: Array, u: list[Array]) -> None:
    z = as_complex(net, eq3_of=score)
    grad = prior.SCORES[score].grad

    def s() -> Array:
        logits, cache = z.classifier.forward(images.astype(complex))
        g, _ = z.classifier.pooling_gradients(grad(logits, label), cache)
        return sum((a * b).sum() for a, b in zip(u, g))

    gradients = {path: d for path, d in net.gradients().items() if path.startswith("classifier.")}
    probed = {path: probe(z, path, d, s) for path, d in gradients.items()}
    worst = {path: difference(*pair) for path, pair in probed.items() if np.abs(pair[1]).max() > 0}
    place = max(worst, key=lambda path: worst[path])
    section.add("second", f"{score}: {len(worst)} tensors of the classifier, worst {place}", worst[place], NETWORK)
    # the margin's derivative knows nothing of a score's bias, say
    zero = [analytic for path, (analytic, _) in probed.items() if path not in worst]
    section.add("second", f"{score}: {len(zero)} tensors do not enter", both_zero(*zero), NETWORK)
