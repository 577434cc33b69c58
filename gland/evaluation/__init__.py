"""How good a run is.

    run.py       one set of a run's images measured, and everything written to RUN/evaluation/SET
    scores.py    what is measured of an image, what a set adds up to, with intervals; the choice of post-processing
    pictures.py  training curves, the paper's Figure 2

`python evaluate.py RUN` comes here.
"""
