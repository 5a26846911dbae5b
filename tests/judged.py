# SPDX-License-Identifier: BSD-3-Clause
"""What the tests that onnxruntime judges start with: the packages, and the program.

A Python that lacks a package hands over to the one that REAP_VENV_PYTHON names; where that lacks it too, or there is none, the test is
skipped (exit status 77). REAP_PROGRAM names the program, build/reap if it is not set.
"""
import os
import sys

sys.dont_write_bytecode = True
try:
    import h5py  # noqa: F401
    import numpy as np  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    from onnx import TensorProto, helper, numpy_helper  # noqa: F401
except ImportError as error:
    other = os.environ.pop("REAP_VENV_PYTHON", None)
    if other and os.path.exists(other):
        os.execv(other, [other, "-B"] + sys.argv)
    print("SKIPPED: %s" % error)
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.abspath(os.environ.get("REAP_PROGRAM") or os.path.join(HERE, os.pardir, "build", "reap"))


def scratch(name):
    """Folder of that name beside the program, not made yet."""
    return os.path.join(os.path.dirname(PROGRAM), "scratch", name)
