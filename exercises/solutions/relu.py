"""Solution of the exercise relu."""

from exercises import relu


class ReLU(relu.ReLU):
    def input_grad(self, dy, cache):
        return dy * (cache.y.real > 0)

    def tangent(self, tx, cache):
        return tx * (cache.y.real > 0)
