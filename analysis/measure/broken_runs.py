#!/usr/bin/env python3
"""Breaks runs of reap prune at random moments and resumes them: is anything lost, and how long does the rest take?

    analysis/measure/broken_runs.py --times 40 -- build/reap prune MODEL --calib D.h5 --flops 0.5 ...

(the command without -o, --onnx, --checkpoint and mpirun). An unbroken run on each number of ranks comes first. Then each
time one is started, a signal is sent at a random moment (KILL to one rank, JOB: SIGKILL to all processes, USR1, or TERM),
and the same command is given again with --resume, on a number of ranks of its own. Compared are the networks, byte for
byte. `more` is what both runs took beyond the unbroken one, as a share of it: work that was lost, reading, and starting
anew; first in seconds, then in those that the processors worked (waiting for other ranks is work, too), which count on a
busy machine. A run that had written its network and removed its checkpoint when the signal came was complete, and is
counted apart. What a checkpoint costs is the difference between runs with and without one that are not broken, taking turns.
"""
import argparse
import ctypes
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


def adopt_orphans():
    """Ranks whose mpirun was killed become children of this process, and their work is counted (Linux)."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def worked():
    """Seconds that the processors worked for processes that have ended, orphans included."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(ranks, command, log, broken_by=None, after=None):
    """Seconds, exit status, whether the signal came in time, and the seconds that the processors worked."""
    start, before = time.monotonic(), worked()
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
    seconds = time.monotonic() - start
    return seconds, status, came, worked() - before


def read(path):
    with open(path, "rb") as file:
        return file.read()


def resumed_at(log):
    """Where the run went on, in the words of its log."""
    for line in read(log).decode().split("\n"):
        if "resumed from" in line or "starts afresh" in line:
            return line.split(": ", 2)[-1] if "goes on" in line else line.split(", ", 1)[-1]
    return ""


def main():
    adopt_orphans()
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
        cost, cost_worked, whole, work = [], [], {}, {}
        for _ in range(arguments.turns):
            seconds, status, _, without = run(ranks[0], command, log)
            if status:
                sys.exit(read(log).decode())
            longer, _, _, more_work = run(ranks[0], with_state, log)
            cost.append(longer / seconds - 1)
            cost_worked.append(more_work / without - 1)
        for count in ranks:
            whole[count], status, _, work[count] = run(count, with_state, log)
            if status:
                sys.exit(read(log).decode())
        wanted = read(network)
        print("unbroken: " + ", ".join(f"{whole[count]:.1f} s ({work[count]:.1f} s of work) on {count} ranks" for count in ranks),
              flush=True)
        if cost:
            print(f"a checkpoint costs {100 * statistics.median(cost):.1f} % of a run, {100 * statistics.median(cost_worked):.1f} % "
                  f"of the processors' work (median of {len(cost)}; work: {', '.join(f'{100 * one:.1f}' for one in cost_worked)} %)",
                  flush=True)
        print("| signal | after | on | status | ended in | resumed on | network | more | more work | at |\n" + "|---" * 10 + "|")
        broken, same, complete, more, more_work = 0, 0, 0, [], []
        while broken < arguments.times:
            first, second = random.choice(ranks), random.choice(ranks)
            name, after = random.choice(signals), random.uniform(0, whole[first])
            for path in (network, state):
                if os.path.exists(path):
                    os.remove(path)
            taken, status, came, done = run(first, with_state, log, name, after)
            if not came or status == 0:
                continue
            broken += 1
            whole_already = os.path.exists(network) and read(network) == wanted and not os.path.exists(state)
            rest, again, _, rest_work = run(second, with_state + ["--resume"], log)
            good = again == 0 and read(network) == wanted
            same += good
            complete += whole_already
            # the share of an unbroken run that was done when the signal came, and what the rest took
            figures = after / whole[first] + rest / whole[second] - 1, done / work[first] + rest_work / work[second] - 1
            if not whole_already:
                more.append(figures[0])
                more_work.append(figures[1])
            print(f"| {name} | {after:.1f} s | {first} | {status} | {taken - after:.1f} s | {second} | "
                  f"{'the same' if good else 'another, or none'} | {100 * figures[0]:+.0f} % | {100 * figures[1]:+.0f} % | "
                  f"{'complete' if whole_already else resumed_at(log)} |", flush=True)
        print(f"{same} of {broken} networks the same; more: median {100 * statistics.median(more):.0f} %, largest "
              f"{100 * max(more):.0f} %; of work: {100 * statistics.median(more_work):.0f} %, {100 * max(more_work):.0f} %; "
              f"{complete} complete when the signal came")


if __name__ == "__main__":
    main()
