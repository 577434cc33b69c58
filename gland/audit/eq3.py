"""Eq. (3) at every pooling layer, and its second-order pass over every parameter of the classifier."""

import numpy as np

from gland import prior
from gland.audit import plain_network
from gland.audit.evidence import KINDS, Section, difference
from gland.audit.example import as_complex, batch, network, probe
from gland.audit.numeric import scaled_gap
from gland.networks.classifier import Classifier

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
        for n, image in enumerate(images[: 1 if quick and score == "margin" else 2]):
            expected, pooled = plain_network.PlainJoint(w).eq3(image.astype(complex), label[n], score)
            for k, (ours, theirs) in enumerate(zip(g, expected), 1):
                section.compare(
                    "formula",
                    f"d {score} / d z_{k}, image {n + 1}, one element after the other",
                    ours[n],
                    theirs.real,
                    NETWORK,
                )
            if score == "probability":
                for k, (ours, theirs) in enumerate(zip(cache.pooled, pooled), 1):
                    section.compare("formula", f"z_{k}, image {n + 1}", ours[n], theirs.real, NETWORK)
        u = [rng.standard_normal(g_k.shape) for g_k in g]
        net.zero_grad()
        ta = net.classifier.second_order(u, sent, cache)
        us, gs = (np.concatenate([v.ravel() for v in vs]) for vs in (u, g))
        section.add(
            "adjoint", f"sum <u_k, f_k> = the {score}'s tangent along u", scaled_gap(us, gs, ta, grad(logits, label))
        )
        net.classifier.backward(curvature(logits, label, ta), cache)
        _second_order(section, net, score, images, label, u)
    return section


def _second_order(section, net, score, images, label, u):
    z = as_complex(net, eq3_of=score)
    grad = prior.SCORES[score].grad

    def s():
        logits, cache = z.classifier.forward(images.astype(complex))
        g, _ = z.classifier.pooling_gradients(grad(logits, label), cache)
        return sum((a * b).sum() for a, b in zip(u, g))

    analytic, numeric = {}, {}
    for path, d in net.gradients().items():
        if path.startswith("classifier."):
            analytic[path], numeric[path] = probe(z, path, d, s)
    worst = {path: difference(analytic[path], numeric[path]) for path in analytic if np.abs(numeric[path]).max() > 0}
    where_worst = max(worst, key=worst.get)
    what = f"{score}: {len(worst)} tensors of the classifier, worst {where_worst}"
    section.add("second", what, worst[where_worst], NETWORK)
    zero = [
        path for path in analytic if path not in worst
    ]  # the margin's derivative knows nothing of a score's bias, say
    section.add(
        "second",
        f"{score}: {len(zero)} tensors do not enter",
        max((float(np.abs(analytic[p]).max()) for p in zero), default=0.0),
        NETWORK,
    )
