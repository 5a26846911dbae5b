# SPDX-License-Identifier: BSD-3-Clause
"""Methods of choosing channels, each written anew from its definition: plain and slow, on the activations themselves.

A problem has one or several layers that read the channels, the readers:

  x        [samples, channels, places]   its inputs, a channel's columns side by side
  weights  [channels, places, outputs]   of the layer, its batch norm folded in
  bias     [outputs]
  y        [samples, outputs]            what it is to produce
  positive whether a Relu follows directly

and of all layers that make the channels:

  filters  [channels, any]               their weights, with batch norms folded in
  scales   [channels]                    absolute scales of these batch norms, added up
"""
import math
from types import SimpleNamespace

import numpy as np

RIDGE = 1e-6


def reader(x, weights, bias, positive=False):
    y = np.tensordot(x, weights, 2) + bias
    return SimpleNamespace(x=x, weights=weights, bias=bias, y=y, positive=positive, squared_error=SquaredError(x, y), energy=((y - y.mean(0)) ** 2).sum())


def problem(readers, filters, scales):
    return SimpleNamespace(readers=readers, filters=filters, scales=scales, channels=len(filters))


def error(p, channels):
    """Sum of the readers' squared errors with these channels, each relative to its energy."""
    return sum(r.squared_error(channels) / r.energy for r in p.readers)


def consumed(p):
    """[channels, any]: weights that read them."""
    return np.concatenate([r.weights.reshape(p.channels, -1) for r in p.readers], 1)


def best(scores, count):
    """The channels with the largest scores."""
    return sorted(np.argsort(-np.asarray(scores), kind="stable")[:count].tolist())


class SquaredError:
    """Of the least-squares fit of the outputs by some of the channels and a bias, the ridge's term included."""

    def __init__(self, x, y):
        flat = x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(0)
        y = y - y.mean(0)
        self.gram, self.cross, self.energy, self.places = flat.T @ flat, flat.T @ y, (y ** 2).sum(), x.shape[2]
        self.known = {}

    def __call__(self, channels):
        key = tuple(sorted(channels))
        if key not in self.known:
            columns = np.concatenate([np.arange(c * self.places, (c + 1) * self.places) for c in key])
            columns = columns[self.gram[columns, columns] > 0]
            gram = self.gram[np.ix_(columns, columns)] + np.diag(RIDGE * self.gram[columns, columns])
            cross = self.cross[columns]
            self.known[key] = self.energy - np.sum(cross * np.linalg.solve(gram, cross))
        return self.known[key]


def reap(p, count, wrong=error):
    left = list(range(p.channels))
    while len(left) > count:
        left.remove(min(left, key=lambda c: wrong(p, [d for d in left if d != c])))
    return left


def reap_post(p, count):
    """Outputs in front of a Relu count by how often a normal variable of their mean and variance is positive."""
    r = p.readers[0]
    if not r.positive:
        return reap(p, count)
    share = [0.5 * math.erfc(-y.mean() / y.std() / math.sqrt(2)) for y in r.y.T]
    squared_error = SquaredError(r.x, r.y * np.sqrt(share))
    return reap(p, count, lambda _, channels: squared_error(channels))


def obs_frozen(p, count):
    every = range(p.channels)
    return best([error(p, [d for d in every if d != c]) for c in every], count)


def exchange(p, count):
    kept = reap(p, count)
    while True:
        tries = [sorted(set(kept) - {i} | {j}) for i in kept for j in set(range(p.channels)) - set(kept)]
        found = min(tries, key=lambda c: error(p, c), default=kept)
        if error(p, found) >= error(p, kept) - 1e-9:
            return kept
        kept = found


def contributions(p):
    """[samples * outputs of all readers, channels], each relative to the root of its energy"""
    return np.concatenate([np.stack([(r.x[:, c] @ r.weights[c]).ravel() for c in range(p.channels)], 1) / np.sqrt(r.energy)
                           for r in p.readers])


def thinet(p, count):
    z, gone = contributions(p), []
    summed = np.zeros(len(z))
    while len(gone) < p.channels - count:
        gone.append(min(set(range(p.channels)) - set(gone), key=lambda c: np.sum((summed + z[:, c]) ** 2)))
        summed += z[:, gone[-1]]
    return sorted(set(range(p.channels)) - set(gone))


def cp(p, count):
    """All sets of that size on the LASSO's path, followed from corner to corner."""
    z, y = contributions(p), np.concatenate([(r.y - r.bias).ravel() / np.sqrt(r.energy) for r in p.readers])
    product, target = z.T @ z, z.T @ y
    beta, active, found = np.zeros(p.channels), [], set()
    penalty, dropped = np.abs(target).max(), -1
    active = [int(np.argmax(np.abs(target)))]
    while penalty > 1e-9 * np.abs(target).max():
        signs = np.sign((target - product @ beta)[active])
        step = np.zeros(p.channels)
        step[active] = np.linalg.solve(product[np.ix_(active, active)], signs)
        slope, gradient = product @ step, target - product @ beta
        events = [(penalty, -1)]
        for c in set(range(p.channels)) - set(active):
            for bound in (1, -1):  # where |gradient - d slope| meets penalty - d
                d = (penalty - bound * gradient[c]) / (1 - bound * slope[c])
                if d > 1e-12 * penalty or (d >= 0 and c != dropped):
                    events.append((d, c))
        events += [(-beta[c] / step[c], c) for c in active if step[c] * beta[c] < 0]
        length, which = min(events)
        if len(active) == count and length > 1e-9 * penalty:
            found.add(tuple(sorted(active)))
        beta, penalty, dropped = beta + length * step, penalty - length, -1
        if which in active:
            active.remove(which)
            beta[which], dropped = 0, which
        elif which >= 0:
            active.append(which)
    return [list(f) for f in found]


def activations(p):
    """[samples * places of all readers, channels]"""
    return np.concatenate([np.moveaxis(r.x, 1, 2).reshape(-1, p.channels) for r in p.readers])


def interpolative(p, count):
    """Gram-Schmidt with column pivoting."""
    left, kept = activations(p).copy(), []
    for _ in range(count):
        norms = (left ** 2).sum(0)
        norms[kept] = -1
        kept.append(int(np.argmax(norms)))
        direction = left[:, kept[-1]] / np.linalg.norm(left[:, kept[-1]])
        left -= np.outer(direction, direction @ left)
    return sorted(kept)


def interpolated_weights(p, kept):
    a = activations(p)
    return np.tensordot(np.linalg.lstsq(a[:, kept], a, rcond=None)[0], p.readers[0].weights, 1)


def scaled_weights(p, kept):
    z = contributions(p)
    return np.linalg.lstsq(z[:, kept], z.sum(1), rcond=None)[0][:, None, None] * p.readers[0].weights[kept]


CHOICES = {
    "l1": lambda p, n: best(np.abs(consumed(p)).sum(1), n),
    "l1-filter": lambda p, n: best(np.abs(p.filters).sum(1), n),
    "l2": lambda p, n: best(np.linalg.norm(consumed(p), axis=1), n),
    "l2-filter": lambda p, n: best(np.linalg.norm(p.filters, axis=1), n),
    "fpgm": lambda p, n: best([np.linalg.norm(p.filters - f, axis=1).sum() for f in p.filters], n),
    "bn-scale": lambda p, n: best(p.scales, n),
    "obd": lambda p, n: best(sum(((r.x ** 2).sum(0) * (r.weights ** 2).sum(2)).sum(1) / 2 / r.energy for r in p.readers), n),
    "obs-frozen": obs_frozen,
    "exchange": exchange,
    "reap": reap,
    "reap-post": reap_post,
    "thinet": thinet,
    "cp": cp,
    "id": interpolative,
}
