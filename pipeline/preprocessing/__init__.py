"""From any photograph to the 28x28 images of MNIST.

`image_files` reads a file, `binarization` finds the ink, `ruled_lines` removes printed lines from it, `segmentation`
chooses the character or finds all of them, `mnist_format` gives it MNIST's size, place and stroke. `photo` is the way
through all of these.
"""
