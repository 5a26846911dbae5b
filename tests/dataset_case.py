# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the scripts in datasets/ share: a folder of their own, images in it, and scripts run on it.

Exit status 77 (skipped) where NumPy, h5py or Pillow are missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py
    import numpy as np
    from PIL import Image
except ImportError as error:
    print("skipped: %s" % error)
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, os.pardir, "datasets")
sys.dont_write_bytecode = True
sys.path.insert(0, SCRIPTS)

SMALL = ("--resize", "16", "--crop", "12")


def picture(seed, width, height):
    """Smooth colours with some noise: JPEG and resizing have work to do."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 80 * np.sin(x / a + y / b) for a, b in
              random.uniform(3, 20, (3, 2))]
    noise = random.randint(-20, 21, (height, width, 3))
    return np.clip(np.stack(planes, 2) + noise, 0, 255).astype(np.uint8)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="reap-datasets-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, *names):
        path = os.path.join(self.folder, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def text(self, name, *lines):
        path = self.path(name)
        with open(path, "w") as stream:
            stream.write("".join(line + "\n" for line in lines))
        return path

    def image(self, *names, pixels=None, seed=0, size=(40, 30), **options):
        pixels = picture(seed, *size) if pixels is None else pixels
        path = self.path(*names)
        Image.fromarray(pixels).save(path, **options)
        return pixels

    def run_script(self, script, *arguments, status=0, words=(), **options):
        done = subprocess.run(
            [sys.executable, "-B", os.path.join(SCRIPTS, script)]
            + list(arguments), capture_output=True, text=True, **options)
        text = done.stdout + done.stderr
        self.assertEqual(done.returncode, status, text)
        self.assertNotIn("Traceback", text)
        if status == 3:
            lines = [line for line in done.stderr.splitlines()
                     if ": error: " in line]
            self.assertEqual(len(lines), 1, done.stderr)
        for word in words:
            self.assertIn(word, text)
        return done

    def convert(self, *arguments, script="convert.py", source="in", **options):
        """Images, labels and attributes of what a script writes."""
        out = self.path("out.h5")
        done = self.run_script(script, os.path.join(self.folder, source),
                               "-o", out, *arguments, **options)
        self.stderr = done.stderr
        return self.load(out)

    def load(self, path):
        with h5py.File(path, "r") as file:
            data = file["images"]
            self.assertEqual(data.dtype, np.uint8)
            self.assertEqual(data.attrs["layout"], "NCHW")
            labels = file["labels"][:] if "labels" in file else None
            attributes = dict(file.attrs, **data.attrs)
            self.compression = data.compression
            return data[:], labels, attributes

    def assert_none_written(self):
        left = [name for name in os.listdir(self.folder)
                if name.startswith("out.h5")]
        self.assertEqual(left, [])
