#!/usr/bin/env python3
"""Computes the saved model by hand, and compares with the mistakes that the program printed.

Usage: check.py MODEL CSV STDOUT
"""
import csv
import json
import math
import re
import sys

model = json.load(open(sys.argv[1]))
rows = list(csv.reader(open(sys.argv[2])))
printed = open(sys.argv[3]).read()

inputs, hidden, outputs = len(model["features"]), model["hidden"], len(model["classes"])
weights = iter(model["weights"])


def matrix(height, width):
    columns = [[next(weights) for _ in range(height)] for _ in range(width)]
    return [list(row) for row in zip(*columns)]


w1, b1 = matrix(hidden, inputs), matrix(hidden, 1)
w2, b2 = matrix(outputs, hidden), matrix(outputs, 1)
assert next(weights, None) is None, "weights are left over"


def layer(w, b, x):
    return [sum(a * v for a, v in zip(row, x)) + bias[0] for row, bias in zip(w, b)]


def predict(features):
    x = [(v - m) / d for v, m, d in zip(features, model["means"], model["deviations"])]
    exps = [math.exp(v) for v in layer(w2, b2, [math.tanh(v) for v in layer(w1, b1, x)])]
    best = max(range(outputs), key=exps.__getitem__)
    return model["classes"][best], exps[best] / sum(exps)


assert rows[0][:-1] == model["features"]
wrong = {}
for line, row in enumerate(rows[1:], start=2):
    name, probability = predict([float(cell) for cell in row[:-1]])
    if name != row[-1]:
        wrong[line] = (row[-1], name, probability)
assert len(wrong) <= 0.07 * len(rows), f"{len(wrong)} rows are taken for another class"

told = re.findall(r"^  line (\d+): (\S+), taken for (\S+) with probability (\S+)$", printed, re.M)
for line, actual, name, probability in told:
    assert int(line) in wrong, f"line {line} is right"
    assert wrong[int(line)][:2] == (actual, name), wrong[int(line)]
    assert abs(wrong[int(line)][2] - float(probability)) < 0.0006, wrong[int(line)]
table = re.findall(r"^  (?:%s)((?: +\d+)+)$" % "|".join(model["classes"]), printed, re.M)
confusion = [[int(cell) for cell in row.split()] for row in table]
for i, actual in enumerate(model["classes"]):
    for j, name in enumerate(model["classes"]):
        count = sum(entry[1:3] == (actual, name) for entry in told)
        assert i == j or confusion[i][j] == count, (actual, name)
right, total = re.search(r"^held out: (\d+) of (\d+) right", printed, re.M).groups()
assert sum(map(sum, confusion)) == int(total) == 30
assert sum(confusion[i][i] for i in range(outputs)) == int(right) == 30 - len(told)
