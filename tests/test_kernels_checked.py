"""Every kernel under the address and undefined-behaviour sanitizers and under the race detector, in three thread orders."""

import pytest
from cuda_on_cpu import MISSING, ORDERS
from cuda_on_cpu.emulator import compiled_signature
from kernel_workload import recorded

from gland.ops.device import launch

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.mark.parametrize("file", launch.files())
def test_the_workload_reaches_every_instance(file):
    reached = {launched.kernel.expression for launched in recorded().of(file).launches}
    assert reached == set(launch.source(file).instances)


@pytest.mark.parametrize("mode", ["values", "memory", "races"])
@pytest.mark.parametrize("file", launch.files())
def test_nothing_is_found(file, mode):
    launches = recorded().of(file)
    for order in ORDERS:
        assert launches.replay(mode, launch.source(file), order) is None


@pytest.mark.parametrize("file", launch.files())
def test_the_parsed_signatures_are_the_compilers(file):
    for expression in launch.source(file).instances:
        kernel = launch.Kernel(launch.source(file), expression)
        assert compiled_signature(kernel) == "".join(_code(p) + " " for p in kernel.parameters)


def _code(p):
    pointer = ("p" if p.const else "P") if p.pointer else ""
    kind = p.dtype.kind if p.lanes == 1 else "V"
    return f"{pointer}{kind}{p.dtype.itemsize * p.lanes}"
