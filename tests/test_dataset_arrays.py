#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tests of datasets/convert.py on arrays, and of datasets/from_torch.py."""

import contextlib
import io
import os
import resource
import sys
import unittest

from dataset_case import Case, Image, h5py, np

import images  # (of datasets/, whose path dataset_case adds)


class Arrays(Case):
    NORM = ("--mean", "0.5", "--std", "0.25")

    def save(self, name, array, **entries):
        path = self.path(name)
        (np.save if name.endswith(".npy") else np.savez)(
            path, *[array] * (array is not None), **entries)
        return path

    def call(self, *arguments):
        """convert.py in this process, and what it tells."""
        import convert
        kept, sys.argv = sys.argv, ["convert.py", *arguments, "-o",
                                    self.path("out.h5")]
        try:
            with contextlib.redirect_stdout(io.StringIO()) as told:
                convert.main()
        finally:
            sys.argv = kept
        return told.getvalue()

    def content(self, path):
        """{name: data} and attributes of the images; the file is gone then."""
        with h5py.File(path, "r") as file:
            found = {}
            file.visititems(lambda name, data: found.update(
                {name: data[()]} if isinstance(data, h5py.Dataset) else {}))
            first = file["images"] if "images" in file else file["inputs"]
            attributes = dict(first.attrs)
        os.unlink(path)
        return found, attributes

    def convert(self, *arguments):
        told = self.call(*arguments)
        return (*self.content(self.path("out.h5")), told)

    def refused(self, word, *arguments):
        with self.assertRaises(images.common.DataError) as caught:
            self.call(*arguments)
        self.assertIn(word, str(caught.exception))
        self.assert_none_written()

    def setUp(self):
        super().setUp()
        random = np.random.RandomState(0)
        self.bytes = random.randint(0, 256, (230, 3, 6, 5)).astype(np.uint8)
        self.labels = np.arange(230) % 7

    def test_floats_of_any_size(self):
        exact = self.bytes.astype(np.float16) / 8
        for kind in (np.float16, np.float32, np.float64, ">f4"):
            source = self.save("a.npy", exact.astype(kind))
            found, attributes, _ = self.convert(source, "--sorted")
            self.assertEqual(found["images"].dtype, np.float32)
            self.assertTrue((found["images"] == exact).all())
            self.assertEqual(attributes, {"layout": "NCHW"})
        found, _, _ = self.convert(source, "--sorted", "--mean", "1", "2", "3",
                                   "--std", "2", "--scale", "0.5")
        wanted = (exact.astype(float) * 0.5 - np.reshape([1, 2, 3], (3, 1, 1))
                  ) / 2
        np.testing.assert_allclose(found["images"], wanted, rtol=1e-6)

    def test_bytes_and_labels(self):
        source = self.save("a.npz", None, x=self.bytes, labels=self.labels)
        found, attributes, told = self.convert(source, *self.NORM)
        self.assertIn("230 entries of images 3x6x5 uint8", told)
        self.assertEqual(attributes["mean"].tolist(), [0.5] * 3)
        self.assertEqual(attributes["std"].tolist(), [0.25] * 3)
        np.testing.assert_allclose(attributes["scale"], 1 / 255, 1e-6)
        # Mixed, each with its label.
        self.assertNotEqual(found["labels"].tolist(), self.labels.tolist())
        place = {self.bytes[k].tobytes(): k for k in range(230)}
        order = [place[image.tobytes()] for image in found["images"]]
        self.assertEqual(sorted(order), list(range(230)))
        self.assertEqual(found["labels"].tolist(), (np.array(order) % 7
                                                    ).tolist())
        found, _, _ = self.convert(source, *self.NORM, "--per-class", "3")
        self.assertEqual(np.bincount(found["labels"]).tolist(), [3] * 7)
        found, attributes, _ = self.convert(source, "--raw", "--sorted",
                                            "--images", "230")
        self.assertEqual((attributes["scale"], attributes["std"].tolist()),
                         (1, [1] * 3))
        self.assertTrue((found["images"] == self.bytes).all())

    def test_channels_last(self):
        last = self.save("last.npy", self.bytes.transpose(0, 2, 3, 1))
        self.refused("[N, 6, 5, 3] seems to have its channels last", last,
                     *self.NORM)
        sort = (*self.NORM, "--sorted", "--layout", "nhwc")
        found, _, _ = self.convert(last, *sort)
        self.assertTrue((found["images"] == self.bytes).all())
        flat = self.save("flat.npy", self.bytes[:, 0])
        found, _, _ = self.convert(flat, *sort)
        self.assertTrue((found["images"] == self.bytes[:, :1]).all())
        found, _, _ = self.convert(last, *self.NORM, "--layout", "nchw")
        self.assertEqual(found["images"].shape, (230, 6, 5, 3))

    def test_grey_is_pillows(self):
        source = self.save("a.npy", self.bytes)
        found, attributes, _ = self.convert(source, "--grey", "--sorted",
                                            *self.NORM)
        wanted = [np.asarray(Image.fromarray(i.transpose(1, 2, 0)).convert(
            "L"))[None] for i in self.bytes]
        self.assertTrue((found["images"] == wanted).all())
        self.assertEqual(attributes["mean"].tolist(), [0.5])
        self.refused("--grey takes uint8", "--grey",
                     self.save("f.npy", self.bytes.astype(np.float32)))

    def test_several_inputs(self):
        words = np.arange(460).reshape(230, 2)
        both = self.save("both.npz", None, words=words, labels=self.labels,
                         **{"a/b": self.bytes / 4})
        found, _, told = self.convert(both, "--sorted")
        self.assertEqual(set(found), {"inputs/words", "inputs/a.b", "labels"})
        self.assertEqual(found["inputs/words"].dtype, np.int32)
        self.assertTrue((found["inputs/words"] == words).all())
        self.assertTrue((found["inputs/a.b"] == self.bytes / 4).all())
        again, _, _ = self.convert(
            "a/b=%s:a/b" % both, "words=" + self.save("w.npy", words),
            "--labels", self.save("l.npy", self.labels[:, None]), "--sorted")
        for name, data in found.items():
            self.assertTrue((again[name] == data).all(), name)
        found, _, _ = self.convert("words=" + self.path("w.npy"), "--sorted")
        self.assertEqual(list(found), ["inputs/words"])
        self.refused("give the input's name", self.path("w.npy"),
                     self.path("l.npy"))
        self.refused("different numbers of entries", "x=" + self.path("w.npy"),
                     "y=" + self.save("few.npy", words[:9]))

    def test_entries_of_an_archive(self):
        source = self.save("keras.npz", None, x_train=self.bytes, y=self.labels,
                           x_test=self.bytes[:9])
        found, _, _ = self.convert(source + ":x_train", "--labels", "y",
                                   *self.NORM, "--sorted")
        self.assertEqual(found["labels"].tolist(), self.labels.tolist())
        self.refused("it has: x_train, y, x_test", source + ":z")
        self.refused("FILE:ENTRY", source)

    def test_unusable_arrays(self):
        def refused(word, array, *arguments):
            self.refused(word, self.save("a.npy", array), *arguments)
        refused("--mean and --std", self.bytes)
        refused("NAME=FILE", self.bytes.astype(int))
        refused("NaN", np.full((3, 1, 2, 2), np.nan))
        refused("float32 does not hold", np.full((3, 1, 2, 2), 1e300))
        refused("wanted [N, ...]", np.zeros(4))
        refused("no numbers", np.full((3, 2), "a"))
        refused("231 images asked for, 230 found", self.bytes / 2, "--images",
                "231")
        refused("needs; use --images", self.bytes / 2, "--per-class", "2")
        refused("wanted whole numbers [N]", self.bytes / 2, "--labels",
                self.save("l.npy", np.zeros(230)))
        self.refused("beyond 2^24", "w=" + self.save("a.npy", np.array(
            [[1 << 25]])))
        np.save(self.path("o.npy"), np.array([None]), allow_pickle=True)
        self.refused("not a readable .npy", self.path("o.npy"))
        with open(self.save("b.npz", None, x=self.bytes), "r+b") as stream:
            stream.truncate(3000)
        self.refused("not a readable .npy", self.path("b.npz"))
        self.refused("only source", self.path("o.npy"), self.folder)

    def test_complete_or_absent(self):
        random = np.random.RandomState(0)
        source = self.save("a.npy", random.rand(300, 3, 20, 20))
        for limit in (100, 400000):
            self.run_script(
                "convert.py", source, "-o", self.path("out.h5"), status=3,
                words=["File too large"],
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_FSIZE, (limit, limit)))
            self.assert_none_written()

    def test_loaders(self):
        """Batches as torch gives them; numpy arrays stand for its tensors."""
        import from_torch
        words = np.arange(460).reshape(230, 2)
        halves = (self.bytes / 8).astype(np.float16)
        cut = [slice(k, k + 64) for k in range(0, 230, 64)]

        def written(batches, **options):
            with contextlib.redirect_stdout(io.StringIO()):
                from_torch.write(batches, self.path("t.h5"), **options)
            return self.content(self.path("t.h5"))[0]
        found = written([(halves[c], self.labels[c]) for c in cut],
                        entries=150)
        self.assertEqual(found["images"].dtype, np.float32)
        self.assertTrue((found["images"] == halves[:150]).all())
        self.assertEqual(found["labels"].tolist(), self.labels[:150].tolist())
        self.assertEqual(set(written([halves[c] for c in cut])), {"images"})
        wanted = {"inputs/image", "inputs/words", "labels"}
        for batches, options in (
                ([{"image": halves[c], "words": words[c],
                   "labels": self.labels[c]} for c in cut], {}),
                ([({"image": halves[c], "words": words[c]}, self.labels[c])
                  for c in cut], {}),
                ([[halves[c], words[c], self.labels[c]] for c in cut],
                 {"inputs": ["image", "words"]})):
            found = written(batches, **options)
            self.assertEqual(set(found), wanted)
            self.assertTrue((found["inputs/words"] == words).all())
            self.assertEqual(found["labels"].tolist(), self.labels.tolist())
        for batches, options, word in (
                ([halves], {"entries": 231}, "231 entries asked for, 230"),
                ([(halves, words)], {}, "name the inputs"),
                ([{"a": halves}], {"inputs": ["b"]}, 'has no "b"'),
                ([halves, halves[:, :1]], {}, "differ in shape"),
                ([(halves, self.labels), halves], {}, "have labels"),
                ([[object()]], {}, "wanted tensors"), ([], {}, "no entry")):
            with self.assertRaisesRegex(images.common.DataError, word):
                written(batches, **options)
            self.assertFalse(os.path.exists(self.path("t.h5")))

    def test_loader_of_a_file(self):
        self.text("mine.py", "import numpy", "def loader():",
                  "    return [numpy.ones((2, 3)), numpy.zeros((1, 3))]")
        out = self.path("deep", "out.h5")
        self.run_script("from_torch.py", self.path("mine.py") + ":loader",
                        "-o", out, words=["3 entries of images 3 float32"])
        for spec, word in (("mine.py:other", 'has no "other"'),
                           ("mine.py", "wanted FILE.py:NAME"),
                           ("no.py:x", "No such file")):
            self.run_script("from_torch.py", os.path.join(self.folder, spec),
                            "-o", out, status=3, words=[word])

    def test_torch_tensors(self):
        try:
            import torch
        except ImportError as error:
            self.skipTest(str(error))
        import from_torch
        pixels = torch.from_numpy(self.bytes / 4)
        for kind in (torch.float16, torch.bfloat16, torch.float64):
            found = from_torch.as_array("x", pixels.to(kind).requires_grad_())
            self.assertEqual(found.dtype, np.float32)
            self.assertTrue((found == self.bytes / 4).all())
        self.assertTrue(from_torch.is_labels(torch.arange(4)))
        self.assertFalse(from_torch.is_labels(torch.ones(4)))


if __name__ == "__main__":
    unittest.main()
