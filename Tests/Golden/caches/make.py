"""Writes decisions.json: what the published rules of step caches decide on scripted signals, in float64.

Usage: make.py magcache-ratios.json  (the authors' tables; those that no code has are copied into the golden)

The rules are written as their papers and scripts state them, one loop each, and share nothing with Sources.
"""
import json
import math
import sys

RATIOS = json.load(open(sys.argv[1]))
BRANCHES = ["conditional", "unconditional"]


def interpolated(table, steps):
    """Per stream, a leading 1 and then the table's ratios, at another number of steps."""
    streams = []
    for s in range(table["streams"]):
        own = [1.0] + table["ratios"][s :: table["streams"]]
        if len(own) != steps:
            own = [own[round(i * (len(own) - 1) / (steps - 1))] for i in range(steps)]
        streams.append(own)
    return streams


def magcache(name, steps, threshold, most_skips, retention):
    streams = interpolated(RATIOS[name], steps)
    calls = [(step, s, streams[s][step]) for step in range(steps) for s in range(len(streams))]
    state = [[1.0, 0, 0.0] for _ in streams]
    rows = []
    for number, (step, s, ratio) in enumerate(calls):
        if number < math.floor(len(calls) * retention):
            rows.append((step, s, True, None))
            continue
        own = state[s]
        own[0] *= ratio
        own[1] += 1
        own[2] += abs(1 - own[0])
        error = own[2]
        computed = not (error < threshold and own[1] <= most_skips)
        if computed:
            state[s] = [1.0, 0, 0.0]
        rows.append((step, s, computed, error))
    return dict(
        cache="magcache", model=name, steps=steps, streams=len(streams), threshold=threshold, mostSkips=most_skips,
        firstSteps=retention, rows=rows)


def experts(name, steps, switch, threshold, most_skips, retention):
    """MagCache for Wan 2.2's two transformers, which switch at this step; each begins with nothing cached."""
    streams = interpolated(RATIOS[name], steps)
    n, s0 = 2 * steps, 2 * switch
    state = [[1.0, 0, 0.0] for _ in streams]
    rows = []
    for number in range(n):
        step, s = divmod(number, 2)
        if number < math.floor(s0 * retention) or s0 <= number <= s0 + (n - s0) * retention:
            rows.append((step, s, True, None))
            state[s] = [1.0, 0, 0.0]
            continue
        own = state[s]
        own[0] *= streams[s][step]
        own[1] += 1
        own[2] += abs(1 - own[0])
        error = own[2]
        computed = not (error < threshold and own[1] <= most_skips)
        if computed:
            state[s] = [1.0, 0, 0.0]
        rows.append((step, s, computed, error))
    return dict(
        cache="magcache", model=name, steps=steps, streams=2, switch=switch, threshold=threshold,
        mostSkips=most_skips, firstSteps=retention, rows=rows)


def teacache(name, coefficients, distances, threshold, first, last):
    """distances: of every step's signal; both branches see the same."""
    rows = []
    sums = [0.0, 0.0]
    for step, distance in enumerate(distances):
        for s in range(2):
            number = 2 * step + s
            if number < 2 * first or number >= 2 * (len(distances) - last):
                rows.append((step, s, True, None))
                sums[s] = 0.0
                continue
            value = 0.0
            for coefficient in coefficients:
                value = value * distance + coefficient
            sums[s] += value
            rows.append((step, s, not sums[s] < threshold, sums[s]))
            if rows[-1][2]:
                sums[s] = 0.0
    return dict(
        cache="teacache", name=name, steps=len(distances), streams=2, coefficients=coefficients, distances=distances,
        threshold=threshold, first=first, last=last, rows=rows)


def fbcache(signals, threshold, first):
    """signals[step][branch]: what the first block adds. Compared with the last computed call's."""
    kept = [None, None]
    rows = []
    for step, pair in enumerate(signals):
        for s, now in enumerate(pair):
            change = None
            computed = True
            if step >= first and kept[s] is not None:
                change = sum(abs(a - b) for a, b in zip(kept[s], now)) / sum(abs(a) for a in kept[s])
                computed = not change < threshold
            if computed:
                kept[s] = now
            rows.append((step, s, computed, change))
    return dict(
        cache="fbcache", steps=len(signals), streams=2, signals=signals, threshold=threshold, first=first, rows=rows)


def taylorseer(steps, first, interval, order, values):
    """values[step]: what a computed call gives. The schedule is diffusers'; forecasts are the paper's."""
    terms, last = [], None
    rows, given = [], []
    for step in range(steps):
        computed = step < first or (step - first - 1) % interval == 0
        if computed:
            new = [values[step]]
            for j, before in enumerate(terms[:order]):
                new.append([(a - b) / (step - last) for a, b in zip(new[j], before)])
            terms, last = new, step
            given.append(values[step])
        else:
            given.append([
                sum(term[i] * (step - last) ** j / math.factorial(j) for j, term in enumerate(terms))
                for i in range(len(values[0]))
            ])
        rows.append((step, 0, computed, None))
    return dict(
        cache="taylorseer", steps=steps, streams=1, first=first, interval=interval, order=order, values=values,
        given=given, rows=rows)


def broadcast(steps, first, last, self_range, cross_range, values):
    """Pyramid attention broadcast: a counter for self-attention and one for cross-attention, each within the steps that
    are not always computed; values[step]: what either gives where it is computed."""
    rows, given = [], []
    kept = [None, None]
    for step in range(steps):
        outcomes = []
        for module, length in enumerate((self_range, cross_range)):
            forced = step < first or step >= steps - last
            outcomes.append(forced or (step - first - 1) % length == 0)
            if outcomes[-1]:
                kept[module] = values[step]
        given.append(kept[0] + kept[1])
        rows.append((step, 0, outcomes[0], None, outcomes[1]))
    return dict(
        cache="pab", steps=steps, streams=1, first=first, last=last, interval=self_range, crossInterval=cross_range,
        values=values, given=given, rows=rows)


def signal(step, s, width=8):
    """Falls fast, then slowly, then faster; in 1/1024 so that fp32 holds it."""
    level = math.exp(-step / 4) + 0.02 * step + 0.1 * s
    return [round(1024 * (1 + level * math.cos(1.7 * i + 0.3 * step))) / 1024 for i in range(width)]


cases = [
    magcache("wan2.1-t2v-14b", 50, 0.12, 2, 0.2), magcache("wan2.1-t2v-14b", 50, 0.24, 6, 0.2),
    magcache("wan2.1-t2v-1.3b", 50, 0.12, 4, 0.2), magcache("wan2.1-t2v-1.3b", 30, 0.12, 2, 0.2),
    magcache("wan2.1-t2v-1.3b", 23, 0.12, 4, 0.3), magcache("hunyuan-720p", 50, 0.24, 6, 0.2),
    magcache("wan2.2-t2v-a14b", 40, 0.06, 2, 0.4), experts("wan2.2-t2v-a14b", 40, 13, 0.06, 2, 0.4),
    teacache(
        "hunyuan", [733.226126, -401.131952, 67.5869174, -3.149878, 0.0961237896],
        [0.0] + [0.3 - 0.005 * i for i in range(19)], 0.15, 1, 1),
    teacache(
        "wan2.1-t2v-1.3b", [2396.76752, -1311.10545, 201.331979, -8.29855975, 0.137887774],
        [0.0] + [0.04 + 0.002 * i for i in range(24)], 0.08, 1, 1),
    fbcache([[signal(step, 0), signal(step, 1)] for step in range(24)], 0.1, 2),
    fbcache([[signal(step, 0), signal(step, 1)] for step in range(24)], 0.2, 1),
    taylorseer(20, 3, 5, 1, [signal(step, 0) for step in range(20)]),
    taylorseer(16, 4, 3, 2, [signal(step, 0) for step in range(16)]),
    taylorseer(16, 2, 2, 0, [signal(step, 0) for step in range(16)]),
    broadcast(24, 3, 1, 2, 6, [signal(step, 0) for step in range(24)]),
    broadcast(20, 2, 0, 4, 3, [signal(step, 0) for step in range(20)]),
]
for case in cases:
    case["rows"] = [
        dict(step=step, branch=BRANCHES[s], computed=computed, **({} if error is None else dict(estimate=error)),
             **(dict(cross=cross[0]) if cross else {}))
        for step, s, computed, error, *cross in case["rows"]
    ]
hunyuan = RATIOS["hunyuan-720p"]
with open("decisions.json", "w") as file:
    file.write('{"tables": ' + json.dumps({"hunyuan-720p": hunyuan}) + ',\n"cases": [\n')
    file.write(",\n".join(json.dumps(case) for case in cases) + "\n]}\n")
