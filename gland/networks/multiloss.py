"""The multi-loss network: classifier and segmenter joined by the prior, and its whole gradient by hand.

Written from the paper's text without its Figure 1: consistent with the one, perhaps not with the other. Class-only is the
left half; seg-only is the same network without f, Q and L_c.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gland import backend, loss, ops, prior
from gland.layers import Softmax
from gland.networks.base import Losses, Network, Objective, Prediction, reflected
from gland.networks.classifier import Classifier, added, stage_widths
from gland.networks.segmenter import Segmenter

Array = Any
KINDS = ("joint", "class", "seg")


class Pass(NamedTuple):
    """What one forward pass leaves for the backward pass; None where the network has no such part."""

    classifier: Classifier.Cache
    logits: Array | None = None
    q: Array | None = None
    softmax: Softmax.Cache | None = None  # None where q was given
    label: Array | None = None  # the class l whose score Eq. (3) differentiates
    f: Array | None = None
    f_k: tuple[Array, ...] | list[Array] = ()
    prior_cache: Any = None  # prior.Cache; None where f was given
    sent: Any = None  # what Eq. (3)'s pass sent into each layer
    seg_logits: Array | None = None
    segmenter: Any = None  # Segmenter.Cache


class MultiLoss(Network):
    """kind: "joint", "class" or "seg". width w: the stages have w, 2w, 4w, 8w, 8w channels.

    prior_kind: "gradient" or "gradient-activation". eq3_of: the score that Eq. (3) differentiates, "margin" or (literally)
    "probability". use_prior, use_scores: ablations, joint without f and joint without Q in the segmenter.
    """

    multiple = 32  # the five pools halve the image five times
    margin = 160  # pixels that a map can see beyond its own place (tests/test_tiling.py), a multiple of 32

    def __init__(
        self,
        kind: str = "joint",
        width: int = 16,
        skip: bool = True,
        prior_kind: str = "gradient",
        eq3_of: str = "margin",
        use_prior: bool = True,
        use_scores: bool = True,
        seed: int = 0,
        dtype: Any = np.float32,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
        rng = np.random.default_rng(seed)
        widths = stage_widths(width)
        self.kind, self.skip, self.prior_kind, self.eq3_of = kind, skip, prior_kind, eq3_of
        self.use_prior, self.use_scores = kind == "joint" and use_prior, kind == "joint" and use_scores
        self.classifier = Classifier(widths, rng, dtype, with_head=kind != "seg")
        self.softmax = Softmax()
        self.layers = self.classifier.layers()
        if kind != "class":
            self.segmenter = Segmenter(widths, rng, dtype, self.use_scores, self.use_prior, skip)
            self.layers |= self.segmenter.layers()
        self.flatten()

    def forward(
        self,
        x: Array,
        label: Array | None = None,
        *,
        f: Array | Callable[[Array, Array, Classifier.Cache], Array] | None = None,
        q: Array | None = None,
    ) -> Pass:
        """x (N, 3, H, W), H and W multiples of 32. label (N,): the true class while training, None for the predicted one.

        f (N, H, W) and q (N, 2) may be given instead of computed, and are constants then; f also as a function of the logits, the
        label and the classifier's cache.
        """
        logits, classifier = self.classifier.forward(x)
        softmax = None
        if logits is not None and q is None:
            q, softmax = self.softmax.forward(logits)
        if self.kind == "class":
            return Pass(classifier=classifier, logits=logits, q=q, softmax=softmax, label=label)
        skips = [stage.features for stage in classifier.stages] if self.skip else None
        rise = partial(self.segmenter.rise, classifier.pooled[-1], q if self.use_scores else None, skips)
        if self.use_prior and label is None:
            label = logits.real.argmax(axis=1)
        f_k, prior_cache, sent = (), None, None
        if self.use_prior and f is None:
            find_prior = partial(self.compute_prior, logits, label, classifier, x.shape[2:])
            (f, f_k, prior_cache, sent), risen = ops.at_once(x, find_prior, rise)
        else:
            f, risen = f(logits, label, classifier) if callable(f) else f, rise()
        seg_logits, segmenter = self.segmenter.finish(risen, x, f)
        return Pass(
            classifier=classifier, logits=logits, q=q, softmax=softmax, label=label, f=f, f_k=f_k, prior_cache=prior_cache,
            sent=sent, seg_logits=seg_logits, segmenter=segmenter,
        )  # fmt: skip

    def compute_prior(
        self, logits: Array, label: Array, cache: Classifier.Cache, size: tuple[int, int]
    ) -> tuple[Array, list[Array], prior.Cache, Any]:
        """Eq. (3) of the class `label`, combined into f (N, *size). Also the maps of all pooling layers, for the backward pass
        what `prior.combine` keeps and what was sent into each layer."""
        da = prior.SCORES[self.eq3_of].grad(logits, label)
        g, sent = self.classifier.pooling_gradients(da, cache)
        f, f_k, prior_cache = prior.combine(g, cache.pooled, size, self.prior_kind)
        return f, f_k, prior_cache, sent

    def backward(self, passed: Pass, da: Array | None, dseg: Array | None, df: Array | None) -> None:
        """Adds dL/dw to every parameter's gradient.

        da (N, 2), dseg (N, 2, H, W): dL/dlogits of the losses themselves. df (N, H, W): dL_s/df, weighted, or None where f is
        detached; then what the segmenter sends back to f stops there too.
        """
        k = len(self.classifier.stages)
        dpooled, dfeatures = [None] * k, [None] * k
        if dseg is not None:
            dz, dq, dfeatures, df_read = self.segmenter.backward(dseg, passed.segmenter)
            dpooled[-1] = dz
            if dq is not None and passed.softmax is not None:  # the segmenter read Q = softmax(a)
                da = da + self.softmax.input_grad(dq, passed.softmax)
            if df is not None:
                da, dpooled = self._prior_backward(passed, df + df_read, da, dpooled)
        self.classifier.backward(da, passed.classifier, dpooled, dfeatures)

    def _prior_backward(
        self, passed: Pass, df: Array, da: Array, dpooled: list[Array | None]
    ) -> tuple[Array, list[Array | None]]:
        """dL/df carried to u_k = dL/dg_k, then the second-order pass: curvature joins da, dL/dz_k joins dpooled."""
        u, dz = prior.combine_grad(df, passed.prior_cache, self.prior_kind)
        ta = self.classifier.second_order(u, passed.sent, passed.classifier)
        da = da + prior.SCORES[self.eq3_of].curvature(passed.logits, passed.label, ta)
        return da, [added(a, b) for a, b in zip(dpooled, dz, strict=True)]

    def loss_and_grad(
        self, x: Array, mask: Array | None, malignant: Array | None, objective: Objective = Objective()
    ) -> Losses:
        """Eq. (5) of a batch, its gradient added to every parameter's.

        x (N, 3, H, W), mask S (N, H, W) in {0, 1}, malignant (N,) in {0, 1}. Where the prior is absent f is 1.
        """
        if self.kind == "class":
            return self.class_loss_and_grad(x, malignant)
        passed = self.forward(x, malignant)
        loss_of, grad_of = loss.SEGMENTATION_LOSSES[objective.reading]
        f = ops.ones_like(mask) if passed.f is None else passed.f
        loss_segmentation = loss_of(passed.seg_logits, mask, f)
        dseg, df = grad_of(passed.seg_logits, mask, f)
        if self.kind == "seg":
            self.backward(passed, None, dseg, None)
            return Losses(loss_segmentation, None, loss_segmentation, None, passed.seg_logits)
        lam, loss_class = objective.lam, loss.class_loss(passed.logits, malignant)
        da = loss.class_loss_grad(passed.logits, malignant)
        da, dseg, df = lam * da, (1 - lam) * dseg, (1 - lam) * df
        exact = objective.prior_gradient == "exact" and self.use_prior
        self.backward(passed, da, dseg, df if exact else None)
        total = loss.joint_loss(loss_class, loss_segmentation, lam)
        return Losses(total, loss_class, loss_segmentation, passed.logits, passed.seg_logits)

    def class_loss_and_grad(self, x: Array, malignant: Array) -> Losses:
        """Class-only, and pre-training: Eq. (1) alone, its gradient added to the classifier's parameters."""
        logits, cache = self.classifier.forward(x)
        value = loss.class_loss(logits, malignant)
        self.classifier.backward(loss.class_loss_grad(logits, malignant), cache)
        return Losses(value, value, None, logits, None)

    def predict(self, x: np.ndarray) -> Prediction:
        """Any H, W: the image is padded by reflection at the right and the bottom to multiples of 32, the result cropped back."""
        h, w = x.shape[2:]
        passed = self.forward(self.place(reflected(x, h + -h % self.multiple, w + -w % self.multiple)))
        host = backend.to_host
        p_gland = f = None
        if passed.seg_logits is not None:
            p_gland = host(ops.softmax(passed.seg_logits)[:, 0])[:, :h, :w]
        if passed.f is not None:
            f = host(passed.f)[:, :h, :w]
        f_k = tuple(host(n)[:, : -(-h // 2**k), : -(-w // 2**k)] for k, n in enumerate(passed.f_k, 1))
        return Prediction(None if passed.q is None else host(passed.q), p_gland, f, f_k)
