#!/usr/bin/env python3
"""Breaks runs of reap prune at random moments and resumes them: is anything lost, and how long does the rest take?

    analysis/measure/broken_runs.py --times 40 -- build/reap prune MODEL --calib D.h5 --flops 0.5 ...

(the command without -o, --onnx, --checkpoint and mpirun). An unbroken run on each number of ranks comes first. Then each
time one is started, a signal is sent at a random moment (KILL to one rank, JOB: SIGKILL to all processes, USR1, or TERM),
and the same command is given again with --resume, on a number of ranks of its own. Compared are the networks, byte for
byte. `more` is what both runs took beyond the unbroken one, as a share of it: work that was lost, reading, and starting
anew. What a checkpoint costs is the difference between runs with and without one that are not broken, taking turns: in
seconds, and in those that the processors worked, which count on a busy machine.
"""
import argparse
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SIGNALS = {"KILL": signal.SIGKILL, "JOB": signal.SIGKILL, "USR1": signal.SIGUSR1, "TERM": signal.SIGTERM}


def launch(ranks, command):
    return (["mpirun", "-n", str(ranks)] if ranks > 1 else []) + command


def children(pid):
    """Processes that `pid` has started."""
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in out.split()]


def victims(process, broken_by, ranks):
    """The processes that get the signal. mpirun passes USR1 and TERM on itself."""
    if ranks == 1 or broken_by in ("USR1", "TERM"):
        return [process.pid]
    started = children(process.pid)
    return started + [process.pid] if broken_by == "JOB" or not started else [random.choice(started)]


def worked():
    """Seconds that the processors worked for processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
            for pid in victims(process, broken_by, ranks):
                try:
                    os.kill(pid, SIGNALS[broken_by])
                except ProcessLookupError:
                    pass
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
    parser.add_argument("--signals", default="KILL,JOB,USR1,TERM", help="drawn for each run (default all: KILL,JOB,USR1,TERM)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs="+", help="-- build/reap prune ...")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    ranks = [int(word) for word in arguments.ranks.split(",")]
    signals = arguments.signals.split(",")
    if not set(signals) <= set(SIGNALS):
        parser.error("--signals takes " + ", ".join(SIGNALS))
    with tempfile.TemporaryDirectory() as folder:
        network, state, log = (os.path.join(folder, name) for name in ("out.onnx", "state.h5", "log.txt"))
        command = arguments.command + ["-o", network, "--progress", "none"]
        with_state = command + ["--checkpoint", state]
        cost, cost_worked, whole = [], [], {}
        for _ in range(arguments.turns):
            marks = [worked()]
            seconds, status, _ = run(ranks[0], command, log)
            if status:
                sys.exit(read(log).decode())
            marks.append(worked())
            cost.append(run(ranks[0], with_state, log)[0] / seconds - 1)
            marks.append(worked())
            cost_worked.append((marks[2] - marks[1]) / (marks[1] - marks[0]) - 1)
        for count in ranks:
            whole[count], status, _ = run(count, with_state, log)
            if status:
                sys.exit(read(log).decode())
        wanted = read(network)
        print("unbroken: " + ", ".join(f"{whole[count]:.1f} s on {count} ranks" for count in ranks), flush=True)
        if cost:
            print(f"a checkpoint costs {100 * statistics.median(cost):.1f} % of a run, {100 * statistics.median(cost_worked):.1f} % "
                  f"of the processors' work (median of {len(cost)})", flush=True)
        print("| signal | after | on | status | ended in | resumed on | network | more |\n|---|---|---|---|---|---|---|---|")
        broken, same, more = 0, 0, []
        while broken < arguments.times:
            first, second = random.choice(ranks), random.choice(ranks)
            name, after = random.choice(signals), random.uniform(0, whole[first])
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
