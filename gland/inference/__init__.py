"""What a trained network says of an image. The way from an image on disk to its overlay on disk is files.py, from top to bottom.

files.py    any image files: classified, segmented, mask and overlay written
predict.py  a whole image at the scale of the training, averaged over flips and turns
glands.py   from probabilities to numbered glands; their outline over an image
large.py    images too large for one pass: read, segmented and written a piece at a time
tiling.py   the tiles of such an image, without seams
trained.py  the network in the package, trained_joint/
"""
