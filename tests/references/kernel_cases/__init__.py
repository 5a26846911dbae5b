# SPDX-License-Identifier: BSD-3-Clause
"""The operator cases of make_kernels.py, by kind."""

import zlib

from . import convolution, element, half, linear, network, norm, pool, shape, weight
from .common import CASES, random


def seeded(name, build):
    """Random numbers begin anew for each case, so that adding one changes none of the others."""
    def make():
        random.seed(zlib.crc32(name.encode()))
        return build()
    return make


def all_cases():
    """{name: function that returns a Case}, in the order in which they are listed."""
    for kind in (convolution, norm, linear, element, pool, shape, weight, half, network):
        kind.add_cases()
    return {name: seeded(name, build) for name, build in CASES.items()}
