"""gland: one convolutional network that classifies colon tissue and segments its glands, with every gradient by hand.

The paper is five files: loss.py, prior.py, layers/conv.py, networks/classifier.py, networks/multiloss.py. Everything else is
there so that these can be believed, run fast, be fed with images, and be used. The rooms, each importing only from those below:

    table1/  audit/  doctor/   the paper's Table 1; the paper executed; what this machine can do
    run.py                     start, resume, finish a run
    evaluation/                how good a run is
    inference/                 what a trained network says of an image
    training/                  how a network is trained
    data/                      images in, batches out
    metrics.py                 how good a segmentation is
    networks/                  the multi-loss network; AlexNet and U-Net
    loss.py  prior.py          Eqs. (1), (2), (4), (5); Eq. (3) and f
    layers/                    one short file each
    gradcheck/                 is a derivative right? For any layer
    ops/                       every operation: its definition, the host's, the device's
    backend.py  console.py  errors.py  files.py  tables.py
"""

__version__ = "0.1.0"
