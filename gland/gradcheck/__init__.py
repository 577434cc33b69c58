"""Is a derivative written by hand right? Checks for layers, functions and whole networks, also for layers of your own.

    from gland.gradcheck import check_layer
    report = check_layer(MyLayer(), np.random.default_rng(0).standard_normal((2, 3, 5, 5)))
    print(report)

The complex step (Squire and Trapp 1998):  f(x + ih) = f(x) + ih f'(x) - h^2 f''(x)/2 ..., so Im f(x + ih) / h is f'(x)
with an error of h^2 and, unlike a difference, no cancellation: at h = 1e-30 it is exact to rounding. It needs code that
computes with complex numbers where it is given them; comparisons (ReLU, max) look at real parts. Functions that are not
analytic take `central_difference`, which notices when a kink lies between its two points.

The adjoint identity needs no step at all:  <tangent(tx), dy> = <tx, input_grad(dy)>  for every tx and dy.
"""

from gland.gradcheck.functions import check_function, check_parameters
from gland.gradcheck.layer import check_layer
from gland.gradcheck.numeric import ADJOINT, ANALYTIC, STEP, central_difference, compare_along, directions
from gland.gradcheck.report import CheckError, Report, Row

__all__ = [
    "ADJOINT", "ANALYTIC", "STEP", "CheckError", "Report", "Row", "central_difference", "check_function", "check_layer",
    "check_parameters", "compare_along", "directions",
]  # fmt: skip
