"""The course's exercises: solutions are right, what is left out says so, and typical wrong answers get their sentence."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # exercises are no part of the installed package

from exercises import check, diagnosis  # noqa: E402
from exercises.cases import CHECKS  # noqa: E402
from exercises.diagnosis import Claim  # noqa: E402

NAIVE = "np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)\n"
SCATTER = "np.add.at(dx, (n, c, cache.rows, cache.columns), dy)"
LOW, HIGH = "np.add.at(dx, (..., low), (1 - t) * dy)", "np.add.at(dx, (..., high), t * dy)"
DQ = "(q * one_hot).sum(axis=1, keepdims=True) * (one_hot - q)"
SOFT = "- mask * f) / mask.size\n    return np.stack([ds_gland, -ds_gland], axis=1), mask"
START = "net.mean.input_grad(score_grad(logits, label), cache.mean)"
GRAD, FORWARD = "    def input_grad(self, dy, cache):\n        ", "    def forward(self, x):\n"
BUFFER = "self.dx = getattr(self, 'dx', 0.0 * dy)\n        self.dx[...] = dy * (cache.y > 0)\n        "
STALE = "        out = super().forward(x)\n        self.last = out[1]\n        return out\n\n"

# an exercise; a wrong answer, as an edit of the solution; what the student is told
WRONG = [
    ("linear", "dy @ self.w\n", "-dy @ self.w\n", "dx has the wrong sign"),
    ("linear", "dy @ self.w\n", "dy @ self.w.T\n", "ValueError: matmul.*line 8, in input_grad"),
    ("linear", "self.dw += dy.T @ cache.x", "self.dw = cache.x.T @ dy", "dw is transposed.*otherwise right"),
    ("linear", "self.dw += dy.T @ cache.x", "self.dw = dy.T @ cache.x", "dw is overwritten"),
    ("linear", "dy.sum(axis=0)", "dy.mean(axis=0)", "db is 3 times too small: it is divided by N = 3"),
    ("linear", "self.dw += dy.T @ cache.x", "dy.T @ cache.x", "dw is zero everywhere"),
    ("linear", "return self.input_grad(dy, cache)", "self.input_grad(dy, cache)", "what backward returns.* is None"),
    ("linear", "return tx @ self.w.T", "return self.forward(tx)[0]", "ty contains the bias"),
    ("linear", "return dy @ self.w\n", "return self.backward(dy, cache)\n", "RecursionError"),
    ("linear", "return dy @ self.w\n", "self.db += 1\n        return dy @ self.w\n", "input_grad adds to dw or db"),
    ("linear", "self.dw += dy.T @ tx", "self.dw += dy.T @ cache.x", "it has x where the tangent tx belongs"),
    ("linear", "self.dw += dy.T @ tx", "self.dw += dy.T @ tx\n        self.db += 1", "second_order adds to db"),
    ("relu", "dy * (cache.y.real > 0)", "dy", "dx: the mask is missing"),
    ("relu", "dy * (cache.y.real > 0)", "dy * (dy > 0)", "dx is rectified instead of masked"),
    ("relu", "dy * (cache.y.real > 0)", "dy * (dy > 0) * (cache.y.real > 0)", "dx is masked by x > 0 and then rectified"),
    ("relu", "dy * (cache.y.real > 0)", "dy * cache.y", "dx is multiplied by y"),
    ("relu", "tx * (cache.y.real > 0)", "tx * (cache.y.real == 0)", "ty is let through where x < 0"),
    ("relu", "return dy * (cache.y.real > 0)", "dy *= cache.y > 0\n        return dy", "arguments is written into, line"),
    ("relu", GRAD + "return dy * (cache.y", FORWARD + STALE + GRAD + "return dy * (self.last.y", "dx is that of the last"),
    ("relu", "return dy * (cache.y.real > 0)", BUFFER + "return self.dx", "changes when the layer is called again"),
    ("softmax_cross_entropy", "(q * dq).sum(axis=1, keepdims=True)", "q * dq", "only the diagonal"),
    ("softmax_cross_entropy", "(dq - (q * dq).sum(axis=1, keepdims=True))", "dq", "normaliser takes away is missing"),
    ("softmax_cross_entropy", "sum(axis=1, keepdims=True)", "sum(axis=0)", "the sum runs over the images"),
    ("softmax_cross_entropy", " / len(label)", "", r"5 times too large: it is not divided by N = 5"),
    ("softmax_cross_entropy", "    da[np.arange(len(label)), label] -= 1\n", "", "y is not taken away"),
    ("softmax_cross_entropy", "return da / len", "return -da / len", "wrong sign"),
    ("softmax_cross_entropy", "softmax(a)\n", NAIVE, "at logits of 800.*nan or inf"),
    ("momentum", "rate * dw", "dw", "PyTorch's"),
    ("momentum", "momentum * v + rate", "momentum * v + (1 - momentum) * rate", "dampened"),
    ("momentum", "w - v", "w + v", "uphill"),
    ("momentum", "w - v", "w - rate * v", "the rate is applied twice"),
    ("momentum", "w - v, v", "w - v", "returns something else than two arrays"),
    ("conv", "self.w[:, :, a, e], dy)", "self.w[:, :, -1 - a, -1 - e], dy)", "^dx has the right size but the kernel is flipped"),
    ("conv", "p : p + h, p : p + w", ":h, :w", "x begins 1 rows and columns inside"),
    ("conv", "[:, :, p : p + h, p : p + w]", "", r"dx has the shape \(2, 3, 8, 7\), but it must be \(2, 3, 6, 5\)"),
    ("conv", "self.dw[:, :, a, e]", "self.dw[:, :, -1 - a, -1 - e]", "^dw has the right size but the kernel is flipped"),
    ("conv", "self.dw[:, :, a, e]", "self.dw[:, :, e, a]", "dw has its last two axes exchanged"),
    ("conv", "self.dw[:, :, a, e] +=", "self.dw[:, :, a, e] =", "dw is overwritten"),
    ("conv", "dy.sum(axis=(0, 2, 3))", "dy.mean(axis=(0, 2, 3))", "60 times too small: it is divided by N OH OW"),
    ("conv", "dy.sum(axis=(0, 2, 3))", "dy[0].sum(axis=(1, 2))", "db is that of the first image"),
    ("conv", "seen(xp, a, e", "seen(xp[:, ::-1], a, e", "dw is right for channel 1 only"),
    ("conv", "self.linear_part(tx)", "self.forward(tx)[0]", "ty contains the bias"),
    ("conv", "(dxp, a, e, dy.shape[2:])[...] +=", "(dxp, a, e, dy.shape[2:])[...] =", "dx is right inside|dx is wrong"),
    ("conv", "self.weight_grad(tx, dy)", "self.weight_grad(cache.x, dy)", "it has x where the tangent tx belongs"),
    ("conv", "self.weight_grad(tx, dy)", "return dy", "dw of second_order is zero everywhere"),
    ("deconv", "self.w[:, :, a, e], self.reached", "self.w[:, :, -1 - a, -1 - e], self.reached", "dx has the .*flipped"),
    ("deconv", "self.dw[:, :, a, e]", "self.dw[:, :, 2 - a, 2 - e]", "dw has the .*flipped"),
    ("deconv", "self.linear_part(tx)", "self.forward(tx)[0]", "ty contains the bias"),
    ("max_pool", SCATTER, "dx[n, c, cache.rows, cache.columns] += dy", "dx.*is overwritten"),
    ("max_pool", "return dx", "return dx / self.kernel**2", "4 times too small: it is divided by K K"),
    (
        "max_pool",
        "tx[n, c, cache.rows, cache.columns]",
        "np.lib.stride_tricks.sliding_window_view(tx, (self.kernel,) * 2, axis=(2, 3))"
        "[:, :, ::self.stride, ::self.stride].max(axis=(4, 5))",
        "largest tangent; it is the winner's",
    ),
    ("bilinear", LOW, "dx[..., low] += (1 - t) * dy", "dx of along_last_grad is wrong at"),
    (
        "bilinear",
        f"{LOW}\n        {HIGH}",
        "dx[..., low] += (1 - t) * dy\n        dx[..., high] += t * dy",
        "dx has lost dy",
    ),
    ("bilinear", "low, high, t = ", "high, low, t = ", "weights t and 1 - t are exchanged"),
    ("bilinear", "dy = self.along_last_grad(dy.swapaxes(2, 3), h).swapaxes(2, 3)", "", r"has the shape \(2, 2, 7, 4\)"),
    ("eq4", "(np.exp(log_gland) - mask * f)", "(np.exp(log_gland) - mask)", "the target is S f, not S"),
    ("eq4", SOFT, SOFT.replace(" / mask.size", ""), "24 times too large: it is not divided by J"),
    ("eq4", "mask * (log_background - log_gland)", "mask * (log_gland - log_background)", "df of soft.* has the wrong sign"),
    ("eq4", "mask * (log_background - log_gland)", "(log_background - log_gland)", "outside the glands f does not enter"),
    ("eq4", "((mask * f + 1 - mask) * np.exp(log_gland)", "(np.exp(log_gland)", "the sum of the two terms' weights"),
    ("eq4", "(e - mask / glands * (e * f / m).sum(axis=(1, 2), keepdims=True)) / m", "e / m", "f's way through m is missing"),
    ("eq4", "glands = mask.sum(axis=(1, 2), keepdims=True)", "return weight_grad(s, mask, f)", "f is not divided by m"),
    ("pooling_gradients", DQ, "one_hot * 1.0", "derivative of the logit a_l"),
    ("pooling_gradients", DQ, "q * (one_hot - q)", "not Q_m"),
    ("pooling_gradients", "label[:, None]", "1", "class 1 for every image"),
    ("pooling_gradients", "net.conv2.input_grad", "net.conv2.backward", "use input_grad, not backward"),
    ("pooling_gradients", "return [g1, g2]", "return [g2, g1]", "g_1 comes first"),
    ("pooling_gradients", "[g1, g2]", "[net.pool1.input_grad(g1, cache.pool1), g2]", "stops one layer earlier"),
    ("pooling_gradients", START, f"6 * {START}", "not divided by h w of z_2 = 6"),
    ("second_order", " + u[1]", "", "u_2 is not injected"),
    ("second_order", "curvature(logits, label, ta)", "ta", "has to go through curvature first"),
    ("second_order", "curvature(logits, label, ta)", "0 * ta", "The curvature is missing"),
    ("second_order", "net.conv2.second_order(u[0]", "net.conv2.second_order(cache.z[0]", "activations where the tangent"),
    ("second_order", "net.conv1.backward", "net.conv1.input_grad", "conv1.dw is zero everywhere"),
]  # fmt: skip


def answer(name, old=None, new=None):
    """The solution's module, as it is or with an edit."""
    path = ROOT / "exercises" / "solutions" / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    if old is not None:
        assert old in text, f"{old!r} is not in the solution"
        text = text.replace(old, new)
    module = ModuleType(name)
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", CHECKS)
def test_every_solution_is_right(name):
    assert check.verdict(name, answer(name)) is None


@pytest.mark.parametrize(("name", "old", "new", "told"), WRONG)
def test_a_wrong_answer_gets_its_sentence(name, old, new, told):
    text = check.verdict(name, answer(name, old, new))
    assert text is not None, "taken for right"
    assert "\n" not in text and text.endswith(".")
    assert re.search(told, text), text


def test_every_exercise_has_wrong_answers():
    assert {name for name, *_ in WRONG} == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_every_exercise_is_left_out_and_hints_at_what_to_write(name, capsys):
    assert check.main([name]) == 1
    assert f"{name}  left out: " in capsys.readouterr().out


def test_solutions_exit_0_and_an_unknown_exercise_2_with_a_sentence(capsys):
    assert check.main(["--solution", "relu"]) == 0
    assert check.main(["nosuch"]) == 2
    assert "there is no exercise 'nosuch'; there are: linear" in capsys.readouterr().err


def test_a_file_that_python_cannot_read_is_said_in_a_sentence(monkeypatch, tmp_path, capsys):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "relu.py").write_text("def input_grad(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert check.one("relu", "broken").startswith("cannot be read: invalid syntax")
    (tmp_path / "broken" / "linear.py").write_text("nothing\n")
    assert check.one("linear", "broken") == "cannot be read: NameError: name 'nothing' is not defined."


def test_what_is_given_is_not_to_be_changed():
    module = answer("relu")
    module.ReLU.forward = lambda self, x: (abs(x), self.Cache(abs(x)))
    assert check.verdict("relu", module).startswith("y of forward, which is given,")


README = (ROOT / "exercises" / "README.md").read_text(encoding="utf-8")


def test_the_course_lists_every_exercise_with_the_minutes_of_its_file():
    listed = dict(re.findall(r"^\|[^|]*\| `(\w+)` \| (\d+) \|", README, flags=re.M))
    assert list(listed) == list(CHECKS)
    for name, minutes in listed.items():
        head = (ROOT / "exercises" / f"{name}.py").read_text(encoding="utf-8").splitlines()[0]
        assert head.startswith(f'"""Exercise {name} ({minutes} minutes')


def test_the_sentences_in_the_readme_are_what_the_checker_says():
    shown = re.findall(r"^(conv|relu)  (.*)$", README, flags=re.M)
    said = {check.verdict(name, answer(name, old, new)) for name, old, new, _ in WRONG if name in ("conv", "relu")}
    assert len(shown) == 4
    assert {text for _, text in shown} <= said | {"solved."}


def test_the_checker_does_not_need_the_solutions():
    for path in (ROOT / "exercises").rglob("*.py"):
        if path.parent.name != "solutions":
            assert "from exercises.solutions" not in path.read_text(encoding="utf-8")


TRUTH = np.random.default_rng(0).standard_normal((2, 3, 4, 5))


@pytest.mark.parametrize(
    ("yours", "told"),
    [
        (None, "dx is None"),
        (TRUTH[0], "has the shape"),
        (TRUTH.transpose(1, 0, 2, 3), "is transposed.*otherwise right"),
        (TRUTH[::-1].transpose(1, 0, 2, 3), "wrong also the other way round"),
        (TRUTH.round().astype(int), "has the dtype int64; it must be that of the input, float64"),
        (TRUTH * np.nan, "contains nan"),
        (TRUTH * 0, "is zero everywhere"),
        (-TRUTH, "has the wrong sign"),
        (TRUTH * 7, "7 times too large: it is not divided by J = 7"),
        (TRUTH / 7, "7 times too small"),
        (TRUTH * 1.5, "is 1.5 times what it must be"),
        (TRUTH[..., ::-1, ::-1], "flipped along both"),
        (np.roll(TRUTH, 1, -1), "shifted by one along its last axis"),
        (np.where(np.arange(2)[:, None, None, None] == 1, TRUTH, 0), "right for image 1 only; at"),
        (np.where(np.arange(3)[:, None, None] < 2, TRUTH, 9), "right for channel 0 and 1 only"),
        (TRUTH + np.pad(np.zeros((2, 3, 2, 3)), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1), "right inside"),
        (TRUTH + np.eye(5)[1:], "is wrong at 24 of its 120 elements"),
        (TRUTH + 1, "is wrong; at"),
    ],
)  # fmt: skip
def test_the_diagnosis_of_a_wrong_array(yours, told):
    text = diagnosis.sentence(Claim("dx", yours, TRUTH, sizes={"J": 7}))
    assert re.search(told, text), text


def test_a_right_array_gets_no_sentence():
    assert diagnosis.sentence(Claim("dx", TRUTH * (1 + 1e-14), TRUTH)) is None
