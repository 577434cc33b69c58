"""Solution of the exercise momentum."""


def step(w, dw, v, rate, momentum):
    v = momentum * v + rate * dw
    return w - v, v
