#!/usr/bin/env python3
"""Compares two folders of results: .txt files and networks bit for bit, .json reports but for times, memory and file names.

same_results.py OLD NEW     exit status 1 if anything differs; keys that one report alone has are listed and do not count
"""
import json
import os
import sys

from same_network import same

# Times, sizes in memory, and what tells the version or the place.
IGNORED = {"seconds", "forward_seconds", "images_per_second", "moments_seconds", "memory", "peak_resident_bytes", "reap_version", "commit", "date", "host", "command", "libraries", "inputs"}


def differences(old, new, at=""):
    """Yields (place, text, counts)."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            if key in IGNORED:
                continue
            if key not in old or key not in new:
                yield f"{at}.{key}", "only in the " + ("new" if key in new else "old") + " report", False
            else:
                yield from differences(old[key], new[key], f"{at}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new)):
            yield from differences(a, b, f"{at}[{i}]")
    elif old != new:
        yield at, f"{old!r} became {new!r}"[:200], True


def main(old, new):
    names = sorted(n for n in set(os.listdir(old)) | set(os.listdir(new)) if n.endswith((".onnx", ".txt", ".json")))
    failed = not names
    for name in names:
        paths = [os.path.join(folder, name) for folder in (old, new)]
        if not all(os.path.exists(p) for p in paths):
            print(f"  {name}: on one side only")
            failed = True
        elif name.endswith(".json"):
            for place, text, counts in differences(*(json.load(open(p)) for p in paths)):
                print(f"  {'' if counts else 'note: '}{name}{place}: {text}")
                failed |= counts
        elif not (same(*paths) if name.endswith(".onnx") else open(paths[0], "rb").read() == open(paths[1], "rb").read()):
            print(f"  {name}: not the same bits")
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
