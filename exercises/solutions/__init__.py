"""One solution of each exercise; what an exercise gives is taken from it."""
