#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tests of the scripts in datasets/ on small generated folders and archives.

With REAP_PROGRAM set to the program, it has to read a file that was written.
"""

import io
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tarfile
import unittest

from dataset_case import SMALL, Case, Image, h5py, np, picture

import images  # (of datasets/, whose path dataset_case adds)


def resized(pixels, width, height, support, kernel):
    """Resizing with anti-aliasing written out: [H, W, 3] in double."""
    def weights(old, new):
        scale = old / new
        width = max(scale, 1.0)
        table = np.zeros((new, old))
        for i in range(new):
            centre = (i + 0.5) * scale
            for j in range(max(0, int(centre - support * width + 0.5)),
                           min(old, int(centre + support * width + 0.5))):
                table[i, j] = kernel((j + 0.5 - centre) / width)
            table[i] /= table[i].sum()
        return table
    # Pillow rounds between the two passes.
    rows = np.einsum("xj,yjc->yxc", weights(pixels.shape[1], width),
                     pixels.astype(float))
    rows = np.clip(np.floor(rows + 0.5), 0, 255)
    return np.einsum("yi,ixc->yxc", weights(pixels.shape[0], height), rows)


def triangle(t):
    return max(0.0, 1.0 - abs(t))


def cubic(t, a=-0.5):
    t = abs(t)
    if t < 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return (((t - 5) * t + 8) * t - 4) * a if t < 2 else 0.0


class Pixels(Case):
    def check_resize(self, size, kernel, support, name):
        pixels = self.image("in", "a.png", size=size)
        found, _, _ = self.convert(*SMALL, "--filter", name)
        width, height = size
        short = min(size)
        new = (16 if width == short else int(16 * width / short),
               16 if height == short else int(16 * height / short))
        whole = resized(pixels, *new, support, kernel)
        left, top = round((new[0] - 12) / 2), round((new[1] - 12) / 2)
        wanted = whole[top:top + 12, left:left + 12].transpose(2, 0, 1)
        difference = np.abs(found[0] - np.clip(wanted, 0, 255)).max()
        self.assertLess(difference, 1.1)
        self.assertEqual(found.shape, (1, 3, 12, 12))

    def test_bilinear_wide(self):
        self.check_resize((50, 31), triangle, 1.0, "bilinear")

    def test_bilinear_high(self):
        self.check_resize((23, 40), triangle, 1.0, "bilinear")

    def test_bicubic_down(self):
        self.check_resize((50, 31), cubic, 2.0, "bicubic")

    def test_bicubic_up(self):
        self.check_resize((11, 9), cubic, 2.0, "bicubic")

    def test_own_size_is_untouched(self):
        pixels = self.image("in", "a.png", size=(16, 16))
        found, _, _ = self.convert("--resize", "16", "--crop", "16")
        self.assertTrue((found[0] == pixels.transpose(2, 0, 1)).all())

    def test_stretch(self):
        pixels = self.image("in", "a.png", size=(30, 20))
        found, _, _ = self.convert("--stretch", "10", "14")
        wanted = resized(pixels, 14, 10, 1.0, triangle).transpose(2, 0, 1)
        self.assertEqual(found.shape, (1, 3, 10, 14))
        self.assertLess(np.abs(found[0] - wanted).max(), 1.1)

    def exact(self, *arguments):
        return self.convert("--stretch", "20", "30", *arguments)[0][0]

    def test_grey(self):
        grey = self.image("in", "a.png", pixels=picture(1, 30, 20)[:, :, 0])
        self.assertTrue((self.exact() == grey).all())

    def test_one_channel(self):
        pixels = self.image("in", "a.png", pixels=picture(1, 30, 20))
        found, _, attributes = self.convert(
            "--stretch", "20", "30", "--grey", "--mean", "0.5", "--std", "0.2")
        self.assertTrue((found[0, 0] == Image.fromarray(pixels).convert("L")
                         ).all())
        self.assertEqual((found.shape, attributes["mean"].tolist()),
                         ((1, 1, 20, 30), [0.5]))
        _, _, attributes = self.convert("--grey", "--raw")
        self.assertEqual((attributes["scale"], attributes["mean"].tolist(),
                          attributes["std"].tolist()), (1, [0], [1]))
        for words, status in ((["--grey"], 3),
                              (["--grey", "--mean", "1", "2", "3", "--std",
                                "1", "1", "1"], 3),
                              (["--grey", "--mean", "1"], 2),
                              (["--raw", "--mean", "1", "--std", "1"], 2)):
            self.run_script("convert.py", self.path("in", ""), *words, "-o",
                            self.path("no.h5"), status=status)
            self.assertFalse(os.path.exists(self.path("no.h5")))

    def test_grey_of_16_bits(self):
        grey = picture(1, 30, 20)[:, :, 0].astype(np.uint16) * 257
        self.image("in", "a.png", pixels=grey)
        self.assertTrue((self.exact() == grey >> 8).all())

    def test_palette(self):
        image = Image.fromarray(picture(1, 30, 20)).quantize(16)
        image.save(self.path("in", "a.gif"))
        image.save(self.path("in", "b.png"), transparency=3)
        wanted = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        found, _, _ = self.convert("--stretch", "20", "30", "--sorted")
        self.assertTrue((found == wanted).all())

    def test_alpha_and_bits(self):
        pixels = picture(1, 30, 20)
        alpha = np.concatenate([pixels, pixels[:, :, :1]], 2)
        self.image("in", "a.png", pixels=alpha)
        Image.fromarray(pixels).convert("1").save(self.path("in", "b.png"))
        found, _, _ = self.convert("--stretch", "20", "30", "--sorted")
        self.assertTrue((found[0] == pixels.transpose(2, 0, 1)).all())
        self.assertEqual(set(np.unique(found[1])), {0, 255})

    def test_cmyk(self):
        image = Image.fromarray(picture(1, 30, 20)).convert("CMYK")
        image.save(self.path("in", "a.jpg"), quality=95)
        wanted = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        error = np.abs(self.exact().astype(int) - wanted).mean()
        self.assertLess(error, 12)

    def test_orientation(self):
        image = Image.fromarray(picture(1, 20, 30))
        exif = Image.Exif()
        exif[0x112] = 6
        image.save(self.path("in", "a.jpg"), exif=exif, quality=95)
        stored = np.asarray(Image.open(self.path("in", "a.jpg")))
        turned = np.rot90(stored, -1).transpose(2, 0, 1)
        self.assertTrue((self.exact() == turned).all())
        found, _, _ = self.convert("--stretch", "30", "20", "--orientation",
                                   "ignore")
        self.assertTrue((found[0] == stored.transpose(2, 0, 1)).all())


class Folder(Case):
    def classes(self, counts):
        """Class folders; returns the pixels by class and number."""
        return {(c, i): self.image("in", c, "%02d.png" % i,
                                   seed=100 * k + i, size=(12, 12))
                for k, (c, n) in enumerate(counts.items()) for i in range(n)}

    def test_labels_and_order(self):
        made = self.classes({"bee": 3, "ant": 2, "cat": 4})
        self.image("in", "bee", "deeper", "99.png", seed=5)
        found, labels, attributes = self.convert(*SMALL, "--sorted")
        self.assertEqual(labels.tolist(), [0] * 2 + [1] * 4 + [2] * 4)
        self.assertEqual(labels.dtype, np.int32)
        self.assertEqual(list(attributes["classes"]), ["ant", "bee", "cat"])
        self.assertEqual(attributes["name"], "10 images of in")
        self.assertEqual(self.compression, "gzip")
        found, labels, _ = self.convert("--stretch", "12", "12", "--sorted")
        wanted = made["cat", 3].transpose(2, 0, 1)
        self.assertTrue((found[-1] == wanted).all())

    def test_normalisation(self):
        self.classes({"a": 1, "b": 1})
        _, _, attributes = self.convert(*SMALL)
        close = np.testing.assert_allclose
        close(attributes["scale"], 1 / 255, 1e-6)
        close(attributes["mean"], [0.485, 0.456, 0.406], 1e-6)
        close(attributes["std"], [0.229, 0.224, 0.225], 1e-6)
        _, _, attributes = self.convert(*SMALL, "--mean", "0.5", "0.25", "0",
                                        "--std", "1", "2", "3")
        close(attributes["mean"], [0.5, 0.25, 0])
        close(attributes["std"], [1, 2, 3])

    def test_flat(self):
        for i in range(3):
            self.image("in", "%d.jpg" % i, seed=i)
        self.text("in/notes.txt", "not an image")
        found, labels, attributes = self.convert(*SMALL)
        self.assertEqual(found.shape, (3, 3, 12, 12))
        self.assertIsNone(labels)
        self.assertEqual(len(attributes["classes"]), 0)

    def test_choice(self):
        self.classes({"a": 9, "b": 7, "c": 8})
        some, labels, _ = self.convert(*SMALL, "--per-class", "5")
        self.assertEqual(np.bincount(labels).tolist(), [5, 5, 5])
        self.assertNotEqual(labels.tolist(), sorted(labels))
        again, _, _ = self.convert(*SMALL, "--per-class", "5")
        self.assertTrue((some == again).all())
        other, _, _ = self.convert(*SMALL, "--per-class", "5", "--seed", "1")
        self.assertFalse((some == other).all())
        found, _, _ = self.convert(*SMALL, "--images", "11")
        self.assertEqual(len(found), 11)
        # Each image once.
        self.assertEqual(len({i.tobytes() for i in found}), 11)

    def test_too_few(self):
        self.classes({"a": 3, "b": 2})
        out = self.path("out.h5")
        source = self.path("in")
        self.run_script("convert.py", source, "-o", out, "--images", "6",
                        status=3, words=["6 images asked for, 5 found"])
        self.run_script("convert.py", source, "-o", out, "--per-class", "3",
                        status=3, words=["3 images per class", "2 found"])
        self.assert_none_written()

    def test_jobs_change_nothing(self):
        self.classes({"a": 70, "b": 60})
        files = []
        for jobs in ("1", "2", "5"):
            self.convert("--stretch", "12", "12", "--jobs", jobs)
            with open(self.path("out.h5"), "rb") as stream:
                files.append(stream.read())
        self.assertEqual(len(set(files)), 1)
        # More than one chunk.
        found, labels, _ = self.load(self.path("out.h5"))
        self.assertEqual(np.bincount(labels).tolist(), [70, 60])
        self.assertEqual(len({i.tobytes() for i in found}), 130)

    def test_broken_image(self):
        self.classes({"a": 3, "b": 3})
        self.text("in/a/01.png", "no image at all")
        whole = self.path("in", "b", "00.png")
        with open(whole, "rb") as stream:
            content = stream.read()
        with open(whole, "wb") as stream:
            stream.write(content[:len(content) // 2])
        found, labels, _ = self.convert(*SMALL, "--sorted",
                                        words=["2 skipped"])
        self.assertEqual(labels.tolist(), [0, 0, 1, 1])
        self.assertIn("a/01.png: skipped: ", self.stderr)
        self.assertIn("b/00.png: skipped: ", self.stderr)
        os.unlink(self.path("out.h5"))
        self.run_script("convert.py", self.path("in"), "-o",
                        self.path("out.h5"), "--strict", "--sorted", status=3,
                        words=["a/01.png: cannot identify image file\n"])
        self.assert_none_written()

    def test_names_of_any_bytes(self):
        for i, name in enumerate((b"caf\xe9", "na\u00efve".encode())):
            folder = os.path.join(os.fsencode(self.path("in", "")), name)
            os.makedirs(folder)
            shutil.copy(self.made_file(i), os.path.join(folder, b"\xff.png"))
        self.text("in/na\u00efve/x.png", "broken")
        _, labels, attributes = self.convert(*SMALL, "--sorted")
        self.assertEqual(labels.tolist(), [0, 1])
        self.assertIn("na\u00efve", list(attributes["classes"]))

    def made_file(self, seed):
        self.image("made", "%d.png" % seed, seed=seed)
        return self.path("made", "%d.png" % seed)

    def test_lost_process(self):
        # What is left when the system ends a process for want of memory.
        paths = [images.Item(self.made_file(0), 0)] * 100
        geometry = images.Geometry(16, 12, None, "bilinear", "exif")
        progress = images.Progress("x", 100, True)
        pool = images.concurrent.futures.ProcessPoolExecutor
        started = []

        class Pool(pool):
            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                started.append(self)
        images.concurrent.futures.ProcessPoolExecutor = Pool
        try:
            with self.assertRaisesRegex(images.common.DataError,
                                        "ended from outside"):
                for _ in images.converted(paths, geometry, 2, False, progress):
                    for process in started[0]._processes.values():
                        process.kill()
        finally:
            images.concurrent.futures.ProcessPoolExecutor = pool

    def test_all_broken(self):
        self.text("in/a.png", "nothing")
        self.run_script("convert.py", self.path("in", ""), "-o",
                        self.path("out.h5"), status=3,
                        words=["no image is left"])
        self.assert_none_written()

    def test_unusable_folders(self):
        out = ["-o", self.path("out.h5")]

        def refused(name, word):
            self.run_script("convert.py", os.path.join(self.folder, name),
                            *out, status=3, words=[word])
        refused("missing", "not found")
        os.mkdir(self.path("empty"))
        refused("empty", "holds no images")
        self.text("file", "text")
        refused("file", "is not a folder")
        self.image("mixed", "a.png")
        self.image("mixed", "b", "c.png")
        refused("mixed", "use one form")
        self.image("gap", "a", "a.png")
        os.mkdir(self.path("gap", "b"))
        refused("gap", "holds no images")
        self.run_script("convert.py", "x", *out, "--crop", "300", status=2)
        self.run_script("convert.py", "x", *out, "--images", "0", status=2)
        self.run_script("convert.py", "x", *out, "--std", "1", "0", "1",
                        status=2)
        self.assert_none_written()

    def test_output_is_complete_or_absent(self):
        # A limit on the size of files stands for a full disk.
        random = np.random.RandomState(0)
        for i in range(24):
            self.image("in", "%02d.png" % i, pixels=random.randint(
                0, 256, (120, 120, 3)).astype(np.uint8))
        for limit in (100, 3000, 50000, 400000, 1000000):
            self.run_script(
                "convert.py", self.path("in", ""), "-o", self.path("out.h5"),
                "--stretch", "120", "120", status=3, words=["File too large"],
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_FSIZE, (limit, limit)))
            self.assert_none_written()
        os.mkfifo(self.path("pipe"))
        for other in (self.folder, self.path("pipe")):
            self.run_script("convert.py", self.path("in", ""), "-o", other,
                            status=3, words=["is not a regular file"])

    def test_progress(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True
        kept, sys.stderr = sys.stderr, Terminal()
        try:
            progress = images.Progress("x.h5", 50, False)
            progress.begin -= 10
            progress.shown -= 10
            progress.step()
            text = sys.stderr.getvalue()
        finally:
            sys.stderr = kept
        self.assertIn("x.h5: 1 of 50 images, 0 per second, 0:08:", text)

    def test_program_reads_it(self):
        program = os.environ.get("REAP_PROGRAM")
        if not program:
            self.skipTest("REAP_PROGRAM is not set")
        try:
            import onnx
            from onnx import TensorProto, helper, numpy_helper
        except ImportError as error:
            self.skipTest(str(error))
        self.classes({"a": 5, "b": 4})
        self.convert("--stretch", "12", "12")
        weights = np.random.RandomState(0).standard_normal((2, 3, 12, 12))
        graph = helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["c"]),
             helper.make_node("Flatten", ["c"], ["y"])], "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT,
                                           ["n", 3, 12, 12])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
            [numpy_helper.from_array(weights.astype(np.float32), "w")])
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 7
        onnx.save(model, self.path("net.onnx"))
        done = subprocess.run(
            [program, "eval", self.path("net.onnx"), "--data",
             self.path("out.h5")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


SYNSETS = ["n00000003", "n00000001", "n00000002"]


class ImageNet(Case):
    def convert(self, *arguments, **options):
        return super().convert(*SMALL, "--sorted", *arguments,
                               script="imagenet.py", **options)

    def refused(self, word, *arguments):
        self.run_script("imagenet.py", self.path("in", ""), "-o",
                        self.path("out.h5"), *arguments, status=3,
                        words=[word])

    def flat(self, count):
        for i in range(1, count + 1):
            self.image("in", "ILSVRC2012_val_%08d.JPEG" % i, seed=i)

    def test_class_folders(self):
        for i, synset in enumerate(SYNSETS):
            self.image("in", synset, "x.JPEG", seed=i)
        _, labels, attributes = self.convert(words=["3 classes are there"])
        self.assertEqual(labels.tolist(), [0, 1, 2])
        self.assertEqual(list(attributes["classes"]), sorted(SYNSETS))
        listing = self.text("order", "n00000009", "n00000003 dog, hound",
                            "n00000002", "n00000001 cat")
        _, labels, attributes = self.convert("--synsets", listing)
        self.assertEqual(labels.tolist(), [3, 2, 1])
        self.assertEqual(list(attributes["classes"]),
                         ["n00000009", "dog, hound", "n00000002", "cat"])
        self.refused("n00000001 is not in the list", "--synsets",
                     self.text("short", *SYNSETS[:1]))
        self.refused("line 2 names n00000003 again", "--synsets",
                     self.text("twice", "n00000003", "n00000003"))

    def test_folder_names(self):
        self.image("in", "cat", "x.JPEG")
        self.refused("no synset")

    def test_ground_truth_by_synset(self):
        self.flat(3)
        self.refused("name the --ground-truth")
        truth = self.text(
            "truth.csv", "ImageId,PredictionString",
            "ILSVRC2012_val_00000002,n00000001 1 2 3 4",
            "ILSVRC2012_val_00000001,n00000003 1 2 3 4 n00000003 1 2 3 4",
            "ILSVRC2012_val_00000003,n00000003 1 2 3 4")
        _, labels, attributes = self.convert("--ground-truth", truth)
        self.assertEqual(labels.tolist(), [1, 0, 1])
        _, labels, _ = self.convert("--ground-truth", truth, "--synsets",
                                    self.text("order", *SYNSETS))
        self.assertEqual(labels.tolist(), [0, 1, 0])

    def test_ground_truth_by_label(self):
        self.flat(2)
        lines = ["ILSVRC2012_val_00000001.JPEG 65",
                 "ILSVRC2012_val_00000002.JPEG 970"]
        _, labels, attributes = self.convert(
            "--ground-truth", self.text("val.txt", *lines))
        self.assertEqual(labels.tolist(), [65, 970])
        self.refused("does not name ILSVRC2012_val_00000002", "--ground-truth",
                     self.text("short", lines[0]))
        self.refused("line 1 is not", "--ground-truth",
                     self.text("bad", "what is this"))

    def test_ground_truth_by_number(self):
        self.flat(4)
        truth = self.text("truth.txt", "1", "3", "2", "1")
        self.refused("--meta", "--ground-truth", truth)
        meta = self.text("meta.txt", *SYNSETS)
        _, labels, _ = self.convert("--ground-truth", truth, "--meta", meta)
        self.assertEqual(labels.tolist(), [2, 1, 0, 2])
        self.check_meta_mat(truth)
        self.refused("3 lines for 4 images", "--meta", meta, "--ground-truth",
                     self.text("short", "1", "3", "2"))
        self.refused("expected 1 to 3", "--meta", meta, "--ground-truth",
                     self.text("range", "1", "3", "2", "4"))


    def check_meta_mat(self, truth):
        """The development kit's table, with inner nodes of the hierarchy."""
        broken = self.text("broken.mat", "nothing")
        try:
            import scipy.io
        except ImportError:
            self.refused("python3-scipy", "--ground-truth", truth, "--meta",
                         broken)
            return
        self.refused("broken.mat: ", "--ground-truth", truth, "--meta", broken)
        table = np.zeros((4, 1), [("ILSVRC2012_ID", object), ("WNID", object)])
        for i, row in enumerate([(1, SYNSETS[0]), (2, SYNSETS[1]),
                                 (3, SYNSETS[2]), (1001, "n00000099")]):
            table[i, 0] = (np.array([[row[0]]]), row[1])
        scipy.io.savemat(self.path("meta.mat"), {"synsets": table})
        _, labels, _ = self.convert("--ground-truth", truth, "--meta",
                                    self.path("meta.mat"))
        self.assertEqual(labels.tolist(), [2, 1, 0, 2])


class StanfordDogs(Case):
    def setUp(self):
        super().setUp()
        for c, name in enumerate(("n01-Chihuahua", "n02-Shih-Tzu",
                                  "n03-Great_Dane")):
            for i in range(4):
                self.image("Images", name, "%d.jpg" % i, seed=4 * c + i,
                           size=(14, 14))
        self.train = ["n01-Chihuahua/0.jpg", "n02-Shih-Tzu/2.jpg",
                      "n03-Great_Dane/1.jpg"]
        self.test = ["n01-Chihuahua/3.jpg", "n03-Great_Dane/0.jpg"]

    def convert(self, *arguments):
        self.run_script("stanford_dogs.py", self.folder, "-o",
                        self.path("dogs", ""), *SMALL, *arguments)
        return [self.load(self.path("dogs", "stanford-dogs-%s.h5" % part))
                for part in ("calib", "test")]

    def refused(self, word, *arguments):
        self.run_script("stanford_dogs.py", self.folder, "-o",
                        self.path("dogs", ""), *arguments, status=3,
                        words=[word])

    def test_text_lists(self):
        lists = ["--train-list", self.text("train", *self.train),
                 "--test-list", self.text("test", *self.test)]
        calib, test = self.convert(*lists, "--sorted")
        self.assertEqual(calib[1].tolist(), [0, 1, 2])
        self.assertEqual(test[1].tolist(), [0, 2])
        self.assertEqual(list(calib[2]["classes"]),
                         ["Chihuahua", "Shih-Tzu", "Great Dane"])
        calib, _ = self.convert(*lists, "--calib", "2")
        self.assertEqual(len(calib[0]), 2)
        lists[3] = self.text("twice", self.train[0])
        self.refused("a training image too", *lists)
        lists[3] = self.text("lost", "n01-Chihuahua/9.jpg")
        self.refused("which is not in", *lists)

    def test_split(self):
        self.refused("--split")
        calib, test = self.convert("--split")
        self.assertEqual(np.bincount(calib[1]).tolist(), [2, 2, 2])
        self.assertEqual(np.bincount(test[1]).tolist(), [2, 2, 2])
        both = {i.tobytes() for part in (calib, test) for i in part[0]}
        self.assertEqual(len(both), 12)

    def test_mat_lists(self):
        for name in ("train_list", "test_list"):
            self.text("lists/%s.mat" % name, "no list")
        try:
            import scipy.io
        except ImportError:
            self.refused("python3-scipy")
            self.skipTest("SciPy is missing")
        self.refused("train_list.mat: ")
        for name, files in (("train", self.train), ("test", self.test)):
            table = np.empty((len(files), 1), object)
            table[:, 0] = files
            scipy.io.savemat(self.path("lists", name + "_list.mat"),
                             {"file_list": table})
        calib, test = self.convert("--sorted")
        self.assertEqual(calib[1].tolist(), [0, 1, 2])
        self.assertEqual(test[1].tolist(), [0, 2])


class Cifar(Case):
    def batch(self, seed, count):
        random = np.random.RandomState(seed)
        return (random.randint(0, 256, (count, 3072)).astype(np.uint8),
                random.randint(0, 10, count).tolist())

    def archive(self, content):
        path = self.path("cifar.tar.gz")
        with tarfile.open(path, "w:gz") as archive:
            for name, data in content.items():
                member = tarfile.TarInfo("cifar/" + name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path

    def check(self, path, made):
        self.run_script("cifar10.py", path, "-o", self.folder, "--calib", "5")
        pixels, labels = made["data_batch_1"]
        found, found_labels, attributes = self.load(
            self.path("cifar10-calib.h5"))
        self.assertTrue((found == pixels[:5].reshape(5, 3, 32, 32)).all())
        self.assertEqual(found_labels.tolist(), labels[:5])
        pixels, labels = made["test_batch"]
        found, found_labels, _ = self.load(self.path("cifar10-test.h5"))
        self.assertTrue((found == pixels.reshape(-1, 3, 32, 32)).all())
        self.assertEqual(found_labels.tolist(), labels)
        np.testing.assert_allclose(attributes["mean"], [0.485, 0.456, 0.406],
                                   1e-6)
        self.assertEqual(attributes["classes"][9], "truck")

    def test_archives(self):
        names = ["data_batch_%d" % i for i in range(1, 6)] + ["test_batch"]
        made = {name: self.batch(i, 7) for i, name in enumerate(names)}
        # Old pickles have byte strings, which protocol 2 of today has not
        # for arrays: close enough are those of protocol 3.
        self.check(self.archive({
            name: pickle.dumps({b"data": pixels, b"labels": labels}, 3)
            for name, (pixels, labels) in made.items()}), made)
        self.check(self.archive({
            name + ".bin": np.concatenate(
                [np.array(labels, np.uint8)[:, None], pixels], 1).tobytes()
            for name, (pixels, labels) in made.items()}), made)

    def test_hostile_pickle(self):
        class Call:
            def __reduce__(self):
                return os.system, ("true",)
        path = self.archive({"data_batch_1": pickle.dumps(Call())})
        self.run_script("cifar10.py", path, "-o", self.folder, status=3,
                        words=["not a CIFAR-10 batch (names posix.system"])


class RandomNetwork(Case):
    def test_network_and_images(self):
        try:
            import onnx
        except ImportError:
            self.skipTest("there is no onnx")
        network = os.path.join(self.folder, "net.onnx")
        data = os.path.join(self.folder, "images.h5")
        self.run_script("random_network.py", "vgg11", "-o", network,
                        "--data", data, "--images", "3", "--size", "32",
                        "--classes", "5", words=["random weights"])
        model = onnx.load(network)
        self.assertEqual([n.op_type for n in model.graph.node].count("Conv"),
                         8)
        with h5py.File(data, "r") as file:
            self.assertEqual(file["images"].shape, (3, 3, 32, 32))
            self.assertGreater(file["images"][()].std(), 20)
        program = os.environ.get("REAP_PROGRAM")
        if program:
            told = subprocess.run([program, "inspect", network, "--json"],
                                  capture_output=True, check=True).stdout
            self.assertIn(b'"flops"', told)

    def test_mistakes(self):
        self.run_script("random_network.py", "vgg16", "-o", "x.onnx",
                        "--size", "100", status=2, words=["multiple of 32"])


if __name__ == "__main__":
    unittest.main()
