"""How a classifier's outputs differ from the original's, image by image; `reap eval` runs both networks.

Figures of single images say how sure a mean over them is. Two networks are compared on the same images: the differences
vary less than the figures do.
"""
import json
import os
import subprocess
import tempfile

import numpy

import results

FIGURES = ("right", "loss", "kl")


def command(words, what):
    """Runs a program to its end; the first line that it tells is the reason where it fails."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    except OSError as error:
        raise results.ResultError("%s: %s" % (words[0], error.strerror))
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.strip(" -")] or ["status %d" % done.returncode]
        raise results.ResultError("%s: %s" % (what, told[0]))
    return done.stdout


def interval(values):
    """Mean, and half of its 95 % interval by the normal approximation."""
    half = 1.96 * numpy.std(values, ddof=1) / numpy.sqrt(len(values)) if len(values) > 1 else float("nan")
    return float(numpy.mean(values)), float(half)


def log_probabilities(outputs, kind):
    if kind == "logits":
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        return shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))
    return outputs if kind == "log-probabilities" else numpy.log(numpy.maximum(outputs, 1e-30))


class Judge:
    """Of networks that stand for `original`, on the images of `data`."""

    def __init__(self, program, original, data):
        self.program, self.data = program, data
        told = json.loads(command([program, "inspect", original, "--data", data, "--json"], original))
        if len(told["outputs"]) != 1 or told["outputs"][0]["measure"] != "kl":
            raise results.ResultError("%s: not a classifier of one output" % original)
        self.kind = told["outputs"][0]["kind"]
        with results.hdf5(data, "a data set") as f:
            self.labels = f["labels"][()].astype(int) if "labels" in f else None
        self.scores = self._run(original)

    def _run(self, model):
        """Logarithms of the class probabilities [images, classes]."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "outputs.h5")
            command([self.program, "eval", model, "--data", self.data, "--outputs", path, "--progress", "none"], model)
            with results.hdf5(path, "outputs") as f:
                return log_probabilities(f["outputs"][()].astype(float), self.kind)

    def figures(self, model):
        """{"right", "loss", "kl"}: arrays [images]; the first two are NaN without labels."""
        scores, wanted = self._run(model), self.scores
        found = {name: numpy.full(len(scores), numpy.nan) for name in FIGURES}
        found["kl"] = (numpy.exp(wanted) * (wanted - scores)).sum(axis=1)
        if self.labels is not None:
            found["right"] = (scores.argmax(axis=1) == self.labels).astype(float)
            found["loss"] = -scores[numpy.arange(len(scores)), self.labels]
        return found

    def kept_figures(self, model, path):
        """The same from the file `path`, unless the model is newer; else they are computed and kept there."""
        if os.path.exists(path) and os.path.getmtime(path) >= os.path.getmtime(model):
            return dict(zip(FIGURES, numpy.load(path)))
        found, beside = self.figures(model), path + ".part.npy"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        numpy.save(beside, numpy.array([found[name] for name in FIGURES]))
        os.replace(beside, path)
        return found
