"""The multi-loss network: classifier and segmenter joined by the prior, and its whole gradient by hand.

Written from the paper's text without its Figure 1: consistent with the one, perhaps not with the other. Class-only is the
left half; seg-only is the same network without f, Q and L_c.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gland import backend, loss, ops, prior
from gland.networks.base import Losses, Network, Prediction, reflected
from gland.networks.classifier import Classifier, added, stage_widths
from gland.networks.segmenter import Segmenter

Array = Any
KINDS = ("joint", "class", "seg")


class Pass(NamedTuple):
    """What one forward pass leaves for the backward pass."""

    logits: Array | None
    q: Array | None
    seg_logits: Array | None
    f: Array | None
    f_k: list[Array]
    label: Array | None  # the class l whose score Eq. (3) differentiates
    classifier: Any
    segmenter: Any
    prior: Any
    sent: Any  # what Eq. (3)'s pass sent into each layer


class MultiLoss(Network):
    """kind: "joint", "class" or "seg". width w: the stages have w, 2w, 4w, 8w, 8w channels.

    prior: "gradient" or "gradient-activation". score: what Eq. (3) differentiates, "margin" or (literally) "probability".
    use_prior, use_scores: ablations, joint without f and joint without Q in the segmenter.
    """

    def __init__(
        self,
        kind: str = "joint",
        width: int = 16,
        skip: bool = True,
        prior: str = "gradient",
        score: str = "margin",
        use_prior: bool = True,
        use_scores: bool = True,
        seed: int = 0,
        dtype: Any = np.float32,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
        rng = np.random.default_rng(seed)
        widths = stage_widths(width)
        self.kind, self.skip, self.prior, self.score = kind, skip, prior, score
        self.use_prior, self.use_scores = kind == "joint" and use_prior, kind == "joint" and use_scores
        self.classifier = Classifier(widths, rng, dtype, head=kind != "seg")
        self.layers = self.classifier.layers()
        if kind != "class":
            self.segmenter = Segmenter(widths, rng, dtype, self.use_scores, self.use_prior, skip)
            self.layers |= self.segmenter.layers()
        self.flatten()

    multiple = 32  # the five pools halve the image five times
    margin = 160  # pixels that a map can see beyond its own place (tests/test_tiling.py), a multiple of 32

    def forward(self, x: Array, label: Array | None = None) -> Pass:
        """x (N, 3, H, W), H and W multiples of 32. label (N,): the true class while training, None for the predicted one."""
        logits, classifier = self.classifier.forward(x)
        if self.kind == "class":
            return Pass(logits, ops.softmax(logits), None, None, [], label, classifier, None, None, None)
        q = None if logits is None else ops.softmax(logits)
        skips = [stage.features for stage in classifier.stages] if self.skip else None
        rise = partial(self.segmenter.rise, classifier.pooled[-1], q if self.use_scores else None, skips)
        if self.use_prior:
            label = logits.real.argmax(axis=1) if label is None else label
            find_prior = partial(self.compute_prior, logits, label, classifier, x.shape[2:])
            (f, f_k, prior_cache, sent), risen = ops.at_once(x, find_prior, rise)
        else:
            (f, f_k, prior_cache, sent), risen = (None, [], None, None), rise()
        seg_logits, segmenter = self.segmenter.finish(risen, x, f)
        return Pass(logits, q, seg_logits, f, f_k, label, classifier, segmenter, prior_cache, sent)

    def compute_prior(self, logits, label, classifier_cache, size):
        """Eq. (3) and its combination: f, the maps n_k, and what the gradient of f needs."""
        da = prior.SCORES[self.score].grad(logits, label)
        g, sent = self.classifier.pooling_gradients(da, classifier_cache)
        f, f_k, cache = prior.combine(g, classifier_cache.pooled, size, self.prior)
        return f, f_k, cache, sent

    def backward(self, run: Pass, da: Array | None, dseg: Array | None, df: Array | None) -> None:
        """Adds dL/dw to every parameter's gradient.

        da (N, 2), dseg (N, 2, H, W): dL/dlogits of the losses themselves. df (N, H, W): dL_s/df, weighted, or None where f is
        detached; then what the segmenter sends back to f stops there too.
        """
        k = len(self.classifier.stages)
        dpooled, dfeatures = [None] * k, [None] * k
        if dseg is not None:
            dz, dq, dfeatures, df_read = self.segmenter.backward(dseg, run.segmenter)
            dpooled[-1] = dz
            if dq is not None:  # the segmenter read Q = softmax(a)
                da = da + run.q * (dq - (run.q * dq).sum(axis=1, keepdims=True))
            if df is not None:
                da, dpooled = self._prior_backward(run, df + df_read, da, dpooled)
        self.classifier.backward(da, run.classifier, dpooled, dfeatures)

    def _prior_backward(self, run, df, da, dpooled):
        """dL/df carried to u_k = dL/dg_k, then the second-order pass: curvature joins da, dL/dz_k joins dpooled."""
        u, dz = prior.combine_grad(df, run.prior, self.prior)
        ta = self.classifier.second_order(u, run.sent, run.classifier)
        da = da + prior.SCORES[self.score].curvature(run.logits, run.label, ta)
        return da, [added(a, b) for a, b in zip(dpooled, dz, strict=True)]

    def loss_and_grad(
        self,
        x: Array,
        mask: Array | None,
        malignant: Array | None,
        lam: float = 0.5,
        reading: str = "balanced-weight",
        prior_gradient: str = "detached",
    ) -> Losses:
        """Eq. (5) of a batch, its gradient added to every parameter's.

        x (N, 3, H, W), mask S (N, H, W) in {0, 1}, malignant (N,) in {0, 1}. reading: which reading of Eq. (4).
        prior_gradient: "detached" takes f for a constant, "exact" differentiates it. Where the prior is absent f is 1.
        """
        run = self.forward(x, malignant)
        loss_class = loss_segmentation = da = dseg = df = None
        if self.kind != "seg":
            loss_class = loss.class_loss(run.logits, malignant)
            da = loss.class_loss_grad(run.logits, malignant)
        if self.kind != "class":
            loss_of, grad_of = loss.SEGMENTATION_LOSSES[reading]
            f = mask * 0 + 1 if run.f is None else run.f
            loss_segmentation = loss_of(run.seg_logits, mask, f)
            dseg, df = grad_of(run.seg_logits, mask, f)
        if self.kind == "joint":
            total = loss.joint_loss(loss_class, loss_segmentation, lam)
            da, dseg, df = lam * da, (1 - lam) * dseg, (1 - lam) * df
        else:
            total = loss_class if self.kind == "class" else loss_segmentation
        exact = prior_gradient == "exact" and self.use_prior
        self.backward(run, da, dseg, df if exact else None)
        return Losses(total, loss_class, loss_segmentation, run.logits, run.seg_logits)

    def class_loss_and_grad(self, x: Array, malignant: Array) -> Losses:
        """Pre-training: Eq. (1) alone, its gradient added to the classifier's parameters."""
        logits, cache = self.classifier.forward(x)
        value = loss.class_loss(logits, malignant)
        self.classifier.backward(loss.class_loss_grad(logits, malignant), cache)
        return Losses(value, value, None, logits, None)

    def predict(self, x: np.ndarray) -> Prediction:
        """Any H, W: the image is padded by reflection at the right and the bottom to multiples of 32, the result cropped back."""
        h, w = x.shape[2:]
        x = self.place(reflected(x, h + -h % self.multiple, w + -w % self.multiple))
        run = self.forward(x)
        host = backend.to_host
        p_gland = f = None
        if run.seg_logits is not None:
            p_gland = host(ops.softmax(run.seg_logits)[:, 0])[:, :h, :w]
        if run.f is not None:
            f = host(run.f)[:, :h, :w]
        f_k = tuple(host(n)[:, : -(-h // 2**k), : -(-w // 2**k)] for k, n in enumerate(run.f_k, 1))
        return Prediction(None if run.q is None else host(run.q), p_gland, f, f_k)
