"""Compares Autobahn's verdicts with the baseline: autobahn-compare.py [--update] BASELINE INDEX...

Runs on the fuzzing client's own Python 2.7, and on any newer one. Prints what differs and the totals. Exits 1 if a case
is missing or more, if its verdict or that of its close is another, or if one is worse than the rules below allow;
these hold for a new baseline, too.
"""

from __future__ import print_function

import collections
import json
import sys

CASES = 301
# Text that breaks within one frame is told when the frame is whole, not at the very byte.
NON_STRICT = {"6.4.3", "6.4.4"}
# What is right is left open there: how a close behind data is met, and codes that nobody has defined.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}


def by_number(case):
    return [int(part) for part in case.split(".")]


def read(paths):
    verdicts = {}
    for path in paths:
        with open(path) as index:
            for cases in json.load(index).values():
                for case, result in cases.items():
                    assert case not in verdicts, case + " was run twice"
                    verdicts[case] = [str(result["behavior"]), str(result["behaviorClose"])]
    return verdicts


def broken_rules(verdicts):
    if len(verdicts) != CASES:
        yield "%d cases were run, not %d" % (len(verdicts), CASES)
    for case in sorted(verdicts, key=by_number):
        behavior, close = verdicts[case]
        if case in INFORMATIONAL:
            allowed = {"INFORMATIONAL"}
        elif case in NON_STRICT:
            allowed = {"OK", "NON-STRICT"}
        else:
            allowed = {"OK"}
        if behavior not in allowed or close not in {"OK"} | (allowed & {"INFORMATIONAL"}):
            yield "%s is %s, its close %s" % (case, behavior, close)


def write(path, verdicts):
    lines = ['"%s": %s' % (case, json.dumps(verdicts[case])) for case in sorted(verdicts, key=by_number)]
    with open(path, "w") as baseline:
        baseline.write("{\n" + ",\n".join(lines) + "\n}\n")


def main(arguments):
    update = arguments[0] == "--update"
    path, indexes = arguments[update], arguments[update + 1:]
    verdicts = read(indexes)
    if update:
        write(path, verdicts)
    with open(path) as baseline:
        expected = json.load(baseline)
    differing = [case for case in set(expected) | set(verdicts) if expected.get(case) != verdicts.get(case)]
    for case in sorted(differing, key=by_number):
        was, now = (" / ".join(it.get(case, ["-", "-"])) for it in (expected, verdicts))
        print("%-8s was %-32s is %s" % (case, was, now))
    faults = list(broken_rules(verdicts))
    for fault in faults:
        print("against the rules: " + fault)
    totals = collections.Counter(behavior for behavior, _ in verdicts.values())
    closes = collections.Counter(close for _, close in verdicts.values())
    for name, counted in (("verdicts", totals), ("closes", closes)):
        print("%-9s %s" % (name, ", ".join("%d %s" % (counted[it], it) for it in sorted(counted))))
    print("%d of %d cases as the baseline says" % (len(verdicts) - len(differing), CASES))
    return 1 if differing or faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
