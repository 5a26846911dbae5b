#!/usr/bin/env python3
"""Times networks in onnxruntime, side by side. The original and its pruned versions take turns, so that other load of
the machine affects all of them alike. Prints milliseconds for a batch (median and quartiles) and the speed-up over the
first network.
"""
import argparse
import json
import time

import script


def open_session(path, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def make_input(session, batch):
    import numpy
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ValueError("%d inputs; only networks of one input are timed" % len(inputs))
    shape = [d if isinstance(d, int) and d > 0 else None for d in inputs[0].shape]
    if any(d is None for d in shape[1:]):
        raise ValueError("the input's shape is free but for the batch: %s" % inputs[0].shape)
    if shape[0] is not None and shape[0] != batch:
        raise ValueError("the file fixes a batch of %d images; use --batch %d" % (shape[0], shape[0]))
    random = numpy.random.RandomState(0)
    return {inputs[0].name: random.standard_normal([batch] + shape[1:]).astype(numpy.float32)}


def measure(sessions, feeds, seconds):
    """[times of each session], taking turns until the time is over; every session at least five times."""
    times = [[] for _ in sessions]
    for session, feed in zip(sessions, feeds):
        for _ in range(2):
            session.run(None, feed)
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times[0]) < 5:
        for k, (session, feed) in enumerate(zip(sessions, feeds)):
            start = time.perf_counter()
            session.run(None, feed)
            times[k].append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL.onnx", help="the original first")
    parser.add_argument("--batch", type=int, default=1, help="images at a time (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="of onnxruntime (default 1)")
    parser.add_argument("--seconds", type=float, default=5, help="to measure for (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    if arguments.json:
        script.check_output(arguments.json)
    import numpy
    import onnxruntime
    sessions, feeds = [], []
    for path in arguments.models:
        try:
            sessions.append(open_session(path, arguments.threads))
            feeds.append(make_input(sessions[-1], arguments.batch))
        except Exception as error:  # onnxruntime has exception types of its own
            raise script.UserError("%s: %s" % (path, error))
    figures = []
    print("%-40s %10s %10s %10s %8s" % ("network", "median ms", "quartile", "quartile", "faster"))
    for path, times in zip(arguments.models, measure(sessions, feeds, arguments.seconds)):
        low, middle, high = 1e3 * numpy.percentile(times, [25, 50, 75])
        figures.append({"model": path, "milliseconds": middle, "quartiles": [low, high], "runs": len(times),
                        "faster": figures[0]["milliseconds"] / middle if figures else 1.0})
        print("%-40s %10.3f %10.3f %10.3f %7.2fx" % (path[-40:], middle, low, high, figures[-1]["faster"]))
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump({"onnxruntime": onnxruntime.__version__, "batch": arguments.batch, "threads": arguments.threads,
                       "networks": figures}, f, indent=1)


if __name__ == "__main__":
    script.run(main)
