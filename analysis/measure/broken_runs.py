#!/usr/bin/env python3
"""Breaks runs of reap prune at random moments and resumes them: is anything lost, and how long does the rest take?

    analysis/measure/broken_runs.py --times 40 -- build/reap prune MODEL --calib D.h5 --flops 0.5 ...

(the command without -o, --onnx, --checkpoint and mpirun). An unbroken run on each number of ranks comes first. Then each
time one is started, a signal is sent at a random moment (KILL to one process, USR1, or TERM), and the same command is
given again with --resume, on a number of ranks of its own. Compared are the networks, byte for byte. `more` is what both
runs took beyond the unbroken one, as a share of it: work that was lost, reading, and starting anew. What a checkpoint
costs is the difference between runs with and without one that are not broken, taking turns.
"""
import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SIGNALS = {"KILL": signal.SIGKILL, "USR1": signal.SIGUSR1, "TERM": signal.SIGTERM}


def launch(ranks, command):
    return (["mpirun", "-n", str(ranks)] if ranks > 1 else []) + command


def children(pid):
    """Processes that `pid` has started."""
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in out.split()]


def run(ranks, command, log, broken_by=None, after=None):
    """Seconds, exit status, and whether the signal came in time."""
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as to:
        process = subprocess.Popen(launch(ranks, command), stdout=to, stderr=to)
    came = False
    if after is not None:
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            came = True
            victims = children(process.pid) if broken_by == "KILL" and ranks > 1 else [process.pid]
            os.kill(random.choice(victims or [process.pid]), SIGNALS[broken_by])
    status = process.wait()
    return time.monotonic() - start, status, came


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--ranks", default="1,2,3", help="numbers of ranks, drawn for each run (default 1,2,3)")
    parser.add_argument("--turns", type=int, default=3, help="unbroken runs with and without a checkpoint (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs="+", help="-- build/reap prune ...")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    ranks = [int(word) for word in arguments.ranks.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        network, state, log = (os.path.join(folder, name) for name in ("out.onnx", "state.h5", "log.txt"))
        command = arguments.command + ["-o", network, "--progress", "none"]
        with_state = command + ["--checkpoint", state]
        cost, whole = [], {}
        for _ in range(arguments.turns):
            seconds, status, _ = run(ranks[0], command, log)
            if status:
                sys.exit(read(log).decode())
            cost.append(run(ranks[0], with_state, log)[0] / seconds - 1)
        wanted = read(network)
        for count in ranks:
            whole[count] = run(count, with_state, log)[0]
        print("unbroken: " + ", ".join(f"{whole[count]:.1f} s on {count} ranks" for count in ranks), flush=True)
        print(f"a checkpoint costs {100 * statistics.median(cost):.1f} % of a run (median of {len(cost)})", flush=True)
        print("| signal | after | on | status | ended in | resumed on | network | more |\n|---|---|---|---|---|---|---|---|")
        broken, same, more = 0, 0, []
        while broken < arguments.times:
            first, second = random.choice(ranks), random.choice(ranks)
            name, after = random.choice(list(SIGNALS)), random.uniform(0, whole[first])
            for path in (network, state):
                if os.path.exists(path):
                    os.remove(path)
            taken, status, came = run(first, with_state, log, name, after)
            if not came or status == 0:
                continue
            broken += 1
            rest, again, _ = run(second, with_state + ["--resume"], log)
            good = again == 0 and read(network) == wanted
            same += good
            # the share of an unbroken run that was done when the signal came, and what the rest took
            more.append(after / whole[first] + rest / whole[second] - 1)
            print(f"| {name} | {after:.1f} s | {first} | {status} | {taken - after:.1f} s | {second} | "
                  f"{'the same' if good else 'another, or none'} | {100 * more[-1]:+.0f} % |", flush=True)
        print(f"{same} of {broken} networks the same; more: median {100 * statistics.median(more):.0f} %, "
              f"largest {100 * max(more):.0f} %")


if __name__ == "__main__":
    main()
