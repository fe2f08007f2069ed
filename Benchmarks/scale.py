#!/usr/bin/env python3
"""Time and memory of a Wan2.1-1.3B layer against the number of tokens and threads; prints a table.

    Benchmarks/scale.py                                   # 480x832, 5 to 81 frames, 1 thread and all
    Benchmarks/scale.py --num-frames 33 --threads 1 2 4 8
    Benchmarks/scale.py -- --sparse radial                # what follows goes to 'vdit bench layer'

Needs nothing but Python and vdit. The runs of one size follow each other, so that columns of a row compare.
"""
import argparse
import json
import os

from compare import ROOT, measured


def bench(vdit, arguments):
    """What 'vdit bench layer' measured, and the most memory its process held."""
    output, _, memory = measured([vdit, "bench", "layer", "--json"] + arguments)
    return json.loads(output), memory


def main():
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vdit", default=os.path.join(ROOT, ".build", "release", "vdit"))
    parser.add_argument("--num-frames", type=int, nargs="+", default=[5, 9, 17, 33, 49, 81])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores}))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("more", nargs="*", help="flags of 'vdit bench layer', after --")
    arguments = parser.parse_args()
    header = ["tokens"]
    for threads in arguments.threads:
        header += [f"{threads} thread{'s' * (threads > 1)}", "TFLOP/s", "of peak", "memory"]
    print("| " + " | ".join(header) + " |\n|" + " ---: |" * len(header), flush=True)
    for frames in arguments.num_frames:
        row = []
        for threads in arguments.threads:
            result, memory = bench(arguments.vdit, [
                "--num-frames", str(frames), "--threads", str(threads), "--repeats", str(arguments.repeats)]
                + arguments.more)
            row = row or [f"{result['notes']['tokens']:,}"]
            row += [f"{result['median_seconds']:.2f} s", f"{result['teraflops_per_second']:.2f}",
                    f"{100 * result['fraction_of_peak']:.0f} %", f"{memory / 1e6:,.0f} MB"]
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
