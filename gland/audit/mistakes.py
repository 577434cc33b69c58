"""Mistakes that people make in backward passes, each as an edit of one or two lines of the real code.

The edit is applied to a copy in memory (breaking.py), never to a file. `old` must occur exactly once in the function.
"""

from collections.abc import Callable
from typing import NamedTuple

from gland import layers, loss, prior
from gland.layers import softmax
from gland.networks.classifier import Classifier, Stage
from gland.networks.multiloss import MultiLoss
from gland.networks.segmenter import Segmenter


class Edit(NamedTuple):
    function: Callable
    old: str
    new: str


class Mistake(NamedTuple):
    name: str
    story: str
    edits: tuple[Edit, ...]


def _m(name: str, story: str, function: Callable, old: str, new: str, *more: Edit) -> Mistake:
    return Mistake(name, story, (Edit(function, old, new), *more))


L = layers
MISTAKES = (
    _m("conv-kernel-turned", "dx correlates with the kernel turned by 180 degrees once too often",
       L.Conv2d.input_grad, "self.w,", "self.w[:, :, ::-1, ::-1],"),
    _m("conv-dw-transposed", "the two axes of the kernel are exchanged in dw",
       L.Conv2d.weight_grad, "dy, self.geo, self.kernel)", "dy, self.geo, self.kernel[::-1]).transpose(0, 1, 3, 2)"),
    _m("conv-dw-overwritten", "dw = where dw += is meant: a layer used twice forgets the first",
       L.Conv2d.weight_grad, "self.dw +=", "self.dw[...] ="),
    _m("conv-db-first-image", "db is not summed over the batch", L.Conv2d.weight_grad, "channel_sum(dy)", "channel_sum(dy[:1])"),
    _m("conv-dw-float32", "float32 in the middle of a float64 gradient",
       L.Conv2d.weight_grad, "conv_w(cache.x,", "conv_w(cache.x.astype('float32').astype(dy.dtype),"),
    _m("conv-tangent-bias", "the linearised forward pass adds the bias", L.Conv2d.tangent, "None,", "self.b,"),
    _m("conv-x-for-tangent", "the second-order term takes x where the tangent belongs", L.Conv2d.second_order, "conv_w(tx,", "conv_w(cache.x,"),
    _m("convrelu-no-mask", "the rectifier's mask is missing in backward", L.ConvReLU.backward, "ops.relu_x(dy, cache.y)", "dy"),
    _m("convrelu-stale-mask", "the mask is kept on the layer, so it is that of the last call",
       L.ConvReLU.forward, "return y, self.Cache(x, y)", "self.last = y; return y, self.Cache(x, y)",
       Edit(L.ConvReLU.input_grad, "cache.y", "self.last")),
    _m("convrelu-tangent-no-mask", "the mask is missing in the tangent", L.ConvReLU.tangent, "ops.relu_x(super().tangent(tx, cache), cache.y)", "super().tangent(tx, cache)"),
    _m("convrelu-second-no-mask", "the mask is missing in the second-order term", L.ConvReLU.second_order, "ops.relu_x(dy, cache.y)", "dy"),
    _m("deconv-x-for-tangent", "the transposed convolution's second-order term takes x for the tangent", L.Deconv2d.second_order, "tx, self.geo", "cache.x, self.geo"),
    _m("deconv-no-bias", "the bias is forgotten in forward", L.Deconv2d.forward, "ops.channel_add(y, self.b)", "y"),
    _m("relu-of-dy", "dy is rectified instead of masked (guided backpropagation)", L.ReLU.input_grad, "ops.relu_x(dy, cache.y)", "ops.relu(dy)"),
    _m("max-pool-stride", "backward takes the window's size for the stride", L.MaxPool2d.input_grad, "self.stride", "self.kernel[0]"),
    _m("max-pool-stale", "the argmax is kept on the layer",
       L.MaxPool2d.forward, "return y,", "self.last = argmax; return y,", Edit(L.MaxPool2d.tangent, "cache.argmax", "self.last")),
    _m("avg-pool-sum", "backward hands out dy undivided", L.AvgPool2d.input_grad, "avg_pool_x(dy,", "avg_pool_x(dy * self.kernel[0] * self.kernel[1],"),
    _m("global-pool-sum", "the mean is missing in backward", L.GlobalAvgPool.input_grad, "global_avg_pool_x", "broadcast"),
    _m("upsample-nearest-back", "bilinear forward, nearest backward", L.UpsampleBilinear.input_grad, "upsample_bilinear_x", "upsample_nearest_x"),
    _m("linear-db-mean", "db is the mean over the batch", L.Linear.backward, "dy.sum(axis=0)", "dy.mean(axis=0)"),
    _m("dropout-no-scale", "backward masks but does not rescale", L.Dropout.input_grad, "cache.mask)", "(cache.mask > 0).astype(dy.dtype))"),
    _m("softmax-diagonal", "only the diagonal of softmax's derivative", L.Softmax.input_grad, "(dy - _mean_under(cache.y, dy))", "(1 - cache.y) * dy"),
    _m("softmax-curvature", "one of the two cross terms is missing in the curvature", L.Softmax.second_order, "- dy * _mean_under(y, tx)", ""),
    _m("log-softmax-sum", "backward takes the sum of dy to be one", L.LogSoftmax.input_grad, " * dy.sum(axis=1, keepdims=True)", ""),
    _m("lrn-exponent", "beta where beta + 1 belongs", L.LocalResponseNorm.tangent, " * x * t / s *", " * x * t *"),
    _m("lrn-through-s", "x's way through the normaliser is missing in the second derivative", L.LocalResponseNorm.second_order, "(through_s + ", "("),
    _m("softmax-mean", "the mean under the probabilities is taken without them", softmax._mean_under, "(y * v).sum", "v.mean"),
    _m("eq1-no-mean", "Eq. 1's gradient is not divided by the batch", loss.class_loss_grad, " / len(logits)", ""),
    _m("eq4-sign", "log P_g - log P_b where dL/df has the opposite", loss.soft_target_loss_grad, "log_background - log_gland", "log_gland - log_background"),
    _m("eq4-no-mean", "dL/df is not divided by the number of pixels", loss.weight_loss_grad, " / mask.size", ""),
    _m("eq4-typeset", "the leading minus covers the first term only", loss._cross_entropy, "-(gland * log_gland + background * log_background)", "(-gland * log_gland + background * log_background)"),
    _m("eq4-weights", "P - t where the weights do not add to one: w P - t", loss._cross_entropy_grad, "(gland + background) * np.exp(log_gland)", "np.exp(log_gland)"),
    _m("eq4-float32", "probabilities in float32 in the middle", loss._cross_entropy_grad, "np.exp(log_gland)", "np.exp(log_gland.astype('float32'))"),
    _m("eq4-through-mean", "f's way through the mean that divides it is missing",
       loss.balanced_weight_loss_grad, "(e - mask / glands * (e * weight).sum(axis=(1, 2), keepdims=True))", "e"),
    _m("eq4-batch-mean", "the mean of f is taken over the batch, not per image", loss._balanced, "inside = (mask * f).sum(axis=(1, 2), keepdims=True)", "inside = (mask * f).sum(keepdims=True) / len(f)"),
    _m("eq5-exchanged", "lambda and 1 - lambda exchanged in the gradient", MultiLoss.loss_and_grad, "lam * da, (1 - lam) * dseg", "(1 - lam) * da, lam * dseg"),
    _m("eq6-channel", "the background channel taken for gland", MultiLoss.predict, "ops.softmax(run.seg_logits)[:, 0]", "ops.softmax(run.seg_logits)[:, 1]"),
    _m("eq3-no-softmax", "dQ_l/da without the other classes' part", prior.probability_score_grad, "(one_hot - q)", "one_hot"),
    _m("eq3-curvature", "the score's curvature has lost a term", prior.probability_score_curvature, " - q * centred)", ")"),
    _m("prior-no-mean", "the mean over channels is missing in the prior's derivative", prior.gradient_grad, "(dc / g.shape[1])", "dc"),
    _m("prior-exchanged", "dg and dz exchanged", prior.gradient_activation_grad, "dp * z, dp * g", "dp * g, dp * z"),
    _m("prior-peak", "the maximum is taken for a constant", prior._normalise_grad, "dc[images, peak] -= (", "dc[images, peak] -= 0 * ("),
    _m("prior-layers", "the mean over pooling layers is missing", prior.combine_grad, " / len(cache.g)", ""),
    _m("eq3-double-counting", "Eq. 3's own pass adds to the weights' gradients", Classifier.pooling_gradients, "self.score.input_grad", "self.score.backward"),
    _m("second-order-first-pool", "the tangent is injected at the first pool only", Classifier.second_order, "tz = ops.add(tz, u[k])", "pass"),
    _m("second-order-no-score", "the last layer gets no second-order term", Classifier.second_order, "self.score.second_order(tz, sent_score, cache.score)", "pass"),
    _m("second-order-z", "f's dependence on the activations is dropped", MultiLoss._prior_backward, "ops.add(a, b)", "a"),
    _m("prior-read", "what the segmenter sends back to f is dropped", MultiLoss.backward, "df + df_read", "df"),
    _m("scores-no-softmax", "dQ is added to da without going through softmax", MultiLoss.backward, "run.q * (dq - (run.q * dq).sum(axis=1, keepdims=True))", "dq"),
    _m("skip-dropped", "the skip connection's gradient is dropped", Stage.backward, "dy if dfeatures is None else ops.add(dy, dfeatures)", "dy"),
    _m("scores-mean", "a broadcast's adjoint is a sum, not a mean", Segmenter.backward, "ops.spatial_sum", "ops.global_avg_pool"),
)  # fmt: skip
