"""Is a derivative written by hand right? Checks for layers, functions and whole networks, also for layers of your own.

    from gland.gradcheck import check_layer
    report = check_layer(MyLayer(), np.random.default_rng(0).standard_normal((2, 3, 5, 5)))
    print(report)

    layer.py      check_layer, and LayerProof: one comparison after the other, on which the audit and the exercises build
    functions.py  check_function of a scalar's gradient, check_parameters of a whole network's
    numeric.py    the complex step, and differences where it cannot be taken
    rows.py       Report: what was compared, as a table

The complex step (Squire and Trapp 1998):  f(x + ih) = f(x) + ih f'(x) - h^2 f''(x)/2 ..., so Im f(x + ih) / h is f'(x)
with an error of h^2 and, unlike a difference, no cancellation: at h = 1e-30 it is exact to rounding. It needs code that
computes with complex numbers where it is given them; comparisons (ReLU, max) look at real parts. Functions that are not
analytic take `central_difference`, which notices when a kink lies between its two points.

The adjoint identity needs no step at all:  <tangent(tx), dy> = <tx, input_grad(dy)>  for every tx and dy.
"""

from gland.gradcheck.functions import check_function, check_parameters
from gland.gradcheck.layer import Comparison, LayerProof, check_layer
from gland.gradcheck.numeric import ADJOINT, ANALYTIC, STEP, central_difference, compare_along, complex_step, directions
from gland.gradcheck.rows import CheckError, Report, Row

__all__ = [
    "ADJOINT", "ANALYTIC", "STEP", "CheckError", "Comparison", "LayerProof", "Report", "Row", "central_difference",
    "check_function", "check_layer", "check_parameters", "compare_along", "complex_step", "directions",
]  # fmt: skip
