#!/usr/bin/env python3
"""Watches what a run shows of its progress: silences, times to go that are far off, lines wider than the terminal.

    analysis/measure/progress_watch.py [--ranks N] [--modes bar,lines,json] [--places pipe,tmux] -- build/reap prune ...

(the command without mpirun and --progress). Each mode runs in each place: `pipe` reads standard error as a program would,
`tmux` looks at the screen of a terminal of --columns columns (needs tmux). Under mpirun if N is more than 1, or --mpirun is
given. Judged are, from what came and when:

  silence   the longest time in which nothing new was seen (wanted: at most 10 s)
  to go     told over true time to go, smallest and largest, from a fifth of the run on (wanted: 0.5 to 2). Told times are whole
            seconds, rounded up, and are seen a little later: those within 2 s of the true one count as right
  width     the widest bar or line of progress in characters, on a terminal (wanted: no more than the columns)
  json      every line is an object with event, share, seconds and seconds_left, the last one is the end

Other text in a terminal, such as warnings, is wrapped by it. Exit status 1 if anything is not as wanted.
"""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

LONGEST_SILENCE, SLACK = 10, 2
LEFT = re.compile(r"(?:(\d+) h )?(?:(\d+) min )?(?:(\d+) s )?left")
SHARE = re.compile(r"(\d+) %, ")


def told_left(text):
    """Seconds to go in a line of progress; None if it tells none."""
    found = SHARE.search(text) and LEFT.search(text)
    if not found or not any(found.groups()):
        return None
    hours, minutes, seconds = (int(group or 0) for group in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def watch_pipe(command, folder, columns):
    """Events (time, text) of a run whose standard error is a pipe, its length, and its exit status."""
    del columns
    seen, start = [], time.monotonic()
    with open(os.path.join(folder, "out.txt"), "w", encoding="utf-8") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)
    rest = b""
    while True:
        data = os.read(process.stderr.fileno(), 65536)
        now = time.monotonic() - start
        if not data:
            break
        # a bar returns to the beginning of its line
        *lines, rest = (rest + data).replace(b"\r\033[K", b"\n").split(b"\n")
        seen += [(now, line.decode()) for line in lines if line]
    return seen + ([(now, rest.decode())] if rest else []), time.monotonic() - start, process.wait()


def tmux(socket, *words):
    return subprocess.run(["tmux", "-L", socket, *words], capture_output=True, text=True, check=False).stdout


def watch_tmux(command, folder, columns):
    """The same of a terminal: an event is a line that the screen did not have a moment ago. Lines that tmux wrapped are whole."""
    socket, status = f"reap{os.getpid()}", os.path.join(folder, "status")
    line = f"{shlex.join(command)} > {folder}/out.txt; echo $? > {status}; sleep 3"
    tmux(socket, "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", "50", line)
    seen, before, start = [], set(), time.monotonic()
    while not os.path.exists(status) or not os.path.getsize(status):
        now = time.monotonic() - start
        lines = [text.rstrip() for text in tmux(socket, "capture-pane", "-p", "-J").split("\n") if text.strip()]
        seen += [(now, text) for text in lines if text not in before]
        before = set(lines)
        time.sleep(0.2)
    length = time.monotonic() - start
    with open(status, encoding="utf-8") as file:
        code = int(file.read())
    tmux(socket, "kill-server")
    os.remove(status)
    return seen, length, code


PLACES = {"pipe": watch_pipe, "tmux": watch_tmux}


def judge_json(seen):
    """What is wrong with lines of JSON, and the times that they tell as (time, seconds to go)."""
    wrong, told = [], []
    for when, text in seen:
        try:
            event = json.loads(text)
        except ValueError:
            wrong.append(f"no JSON: {text[:60]}")
            continue
        if not {"event", "share", "seconds", "seconds_left"} <= set(event):
            wrong.append(f"members are missing: {text[:60]}")
        elif event["seconds_left"] is not None:
            told.append((when, event["seconds_left"]))
    if not seen or '"end"' not in seen[-1][1]:
        wrong.append("the last line is no end")
    return wrong, told


def judge(mode, place, seen, length, columns):
    """A row of the table, and whether all is as wanted."""
    wrong = []
    if mode == "json" and place == "pipe":
        wrong, told = judge_json(seen)
    elif mode == "json":
        told = [(when, float(found.group(1))) for when, text in seen
                if (found := re.search(r'"seconds_left":\s*([\d.]+)', text))]
    else:
        told = [(when, left) for when, text in seen if (left := told_left(text)) is not None]
    times = [0] + [when for when, _ in seen] + [length]
    silence = max(after - before for before, after in zip(times, times[1:]))
    ratios = [1 if abs(left - (length - when)) < SLACK else left / (length - when)
              for when, left in told if 0.2 * length <= when < length]
    if silence > LONGEST_SILENCE:
        wrong.append("silence")
    if not ratios or min(ratios) < 0.5 or max(ratios) > 2:
        wrong.append("time to go")
    widths = [len(text) for _, text in seen if SHARE.search(text)] or [0]
    if mode != "json" and place != "pipe" and max(widths) > columns:
        wrong.append("width")
    span = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "none told"
    width = "" if mode == "json" else max(widths)
    print(f"| {mode} | {place} | {length:.0f} s | {len(seen)} | {silence:.1f} s | {span} | {width} | "
          f"{'; '.join(wrong[:3]) or 'as wanted'} |", flush=True)
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--mpirun", action="store_true", help="on one rank, too")
    parser.add_argument("--modes", default="bar,lines,json")
    parser.add_argument("--places", default="pipe,tmux")
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--keep", help="folder for what was seen and when, a file for each run")
    parser.add_argument("command", nargs="+", help="-- build/reap prune ...")
    arguments = parser.parse_args()
    launch = ["mpirun", "-n", str(arguments.ranks)] if arguments.ranks > 1 or arguments.mpirun else []
    good = True
    print("| mode | place | run | lines | longest silence | told / true time to go | widest | |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for place in arguments.places.split(","):
            for mode in arguments.modes.split(","):
                command = launch + arguments.command + ["-o", os.path.join(folder, "out.h5"), "--progress", mode]
                seen, length, status = PLACES[place](command, folder, arguments.columns)
                if arguments.keep:
                    os.makedirs(arguments.keep, exist_ok=True)
                    with open(os.path.join(arguments.keep, f"{mode}-{place}.txt"), "w", encoding="utf-8") as file:
                        file.writelines(f"{when:8.2f} {text}\n" for when, text in seen)
                if status:
                    sys.exit(f"status {status}: {seen[-1][1] if seen else shlex.join(command)}")
                good = judge(mode, place, seen, length, arguments.columns) and good
    sys.exit(not good)


if __name__ == "__main__":
    main()
