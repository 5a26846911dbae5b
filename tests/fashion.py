# SPDX-License-Identifier: BSD-3-Clause
"""The repository's Fashion-MNIST data, for tests of the program in Python."""
import os

import h5py

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "datasets", "fashion")
CALIBRATION, TEST = os.path.join(FOLDER, "fashion-calib.h5"), os.path.join(FOLDER, "fashion-test.h5")


def few_images(path, source, count):
    """A data set of the first `count` images of another, with labels and attributes."""
    with h5py.File(source, "r") as old, h5py.File(path, "w") as new:
        for name in ("images", "labels"):
            new[name] = old[name][:count]
        for key, value in old["images"].attrs.items():
            new["images"].attrs[key] = value
