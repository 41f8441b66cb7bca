#!/usr/bin/env python3
"""Makes orders.csv, customers.json and products.db beside this script (or in the folder given).

The same bytes every time for the CSV and the JSON; for the SQLite file the same content, as its
header carries SQLite's version. 1 % of the orders are broken on purpose, each in one way.
--orders N makes another number of orders, for a bigger run: make_data.py --orders 1000000 big
"""

import argparse
import csv
import io
import json
import pathlib
import random
import sqlite3

FIRST = ["Ana", "Björn", "Chloé", "Dario", "Émile", "Freya", "Giorgos", "Hana", "Inés", "Jürgen",
         "Katarzyna", "Lars", "Márta", "Noé", "Olga", "Pádraig", "Rūta", "Søren", "Tereza", "Zoë"]
LAST = ["Andersson", "Bianchi", "Costa", "Dvořák", "Eriksen", "Fernández", "García", "Horváth",
        "Ivanova", "Jensen", "Kowalska", "Lefèvre", "Müller", "Nagy", "O'Brien", "Papadopoulos",
        "Rossi", "Schmidt", "Šimek", "Żak"]
COUNTRIES = ["AT", "BE", "CZ", "DE", "DK", "ES", "FR", "GR", "HU", "IE", "IT", "PL", "SE"]
ADJECTIVES = ["Compact", "Folding", "Heavy", "Oak", "Quiet", "Round", "Small", "Steel"]
NOUNS = ["Bench", "Clamp", "Desk lamp", "Kettle", "Ladder", "Mirror", "Shelf", "Stool", "Tray",
         "Vise"]
NOTES = ["leave at the door", "gift, please wrap", 'engrave "Für Oma"', "ring twice; 3rd floor",
         "Ñandú on the box", "call before delivery,\nafter 5 pm", 'sign:\n"No parking"\nthanks']
BAD_NUMBERS = [(4, "two"), (4, "-3"), (4, "1.5"), (4, "0"), (4, "12x"), (5, "free"), (5, "1.999"),
               (5, "-0.50"), (5, "1e2")]
BAD_DATES = ["2025-02-30", "2025-13-01", "31.12.2025", "yesterday", "2025-6-1", "2025-00-10",
             "2025/06/01", "20250601"]
KINDS = ["missing field"] * 10 + ["bad number"] * 9 + ["bad date"] * 8 + [
    "unknown customer"] * 8 + ["duplicate order"] * 8 + ["not UTF-8"] * 7


class Dice:
    """Only random(), whose sequence Python promises to keep."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def below(self, n):
        return int(self.random() * n)

    def pick(self, values):
        return values[self.below(len(values))]

    def shuffled(self, values):
        return sorted(values, key=lambda _: self.random())


def make_customers(dice, count):
    return [{"id": f"C{n:04}", "name": f"{dice.pick(FIRST)} {dice.pick(LAST)}",
             "country": dice.pick(COUNTRIES)} for n in range(1, count + 1)]


def make_products():
    names = [f"{adjective} {noun}" for noun in NOUNS for adjective in ADJECTIVES]
    return [(f"P-{n:03}", name, 499 + 100 * ((n * 37) % 190)) for n, name in enumerate(names, 1)]


def make_order(dice, number, customers, products):
    sku, _, price = dice.pick(products)
    quantity = 1 + dice.below(5)
    discount = dice.below(quantity * price // 5) if dice.random() < 0.2 else 0
    return [f"O-{number:07}",
            f"2025-{1 + dice.below(12):02}-{1 + dice.below(28):02}",
            dice.pick(customers)["id"], sku, str(quantity),
            f"{discount // 100}.{discount % 100:02}",
            dice.pick(NOTES) if dice.random() < 0.15 else ""]


def break_order(dice, kind, turn, order, earlier):
    """Gives the broken row's fields; `turn` goes through the ways of a kind."""
    if kind == "missing field":
        field = turn % 7
        return order[:4] if field == 6 else order[:field] + [""] + order[field + 1:]
    if kind == "bad number":
        field, text = BAD_NUMBERS[turn % len(BAD_NUMBERS)]
        return order[:field] + [text] + order[field + 1:]
    if kind == "bad date":
        return order[:1] + [BAD_DATES[turn % len(BAD_DATES)]] + order[2:]
    if kind == "unknown customer":
        return order[:2] + [f"C9{dice.below(1000):03}"] + order[3:]
    if kind == "duplicate order":
        return [dice.pick(earlier)] + order[1:]
    return order[:6] + ["Grüße, Übergabe an Zoë"]  # written as Latin-1


def write_orders(dice, file, count, customers, products):
    broken = dice.shuffled(range(count // 50, count))[:count // 100]
    kinds = dict(zip(broken, dice.shuffled([KINDS[n % len(KINDS)] for n in range(len(broken))])))
    turns = dict.fromkeys(KINDS, 0)
    good_ids = []
    with open(file, "wb") as out:
        out.write(b"order_id,ordered_on,customer_id,sku,quantity,discount,note\n")
        for n in range(count):
            order = make_order(dice, n + 1, customers, products)
            kind = kinds.get(n)
            if kind is None:
                good_ids.append(order[0])
            else:
                order = break_order(dice, kind, turns[kind], order, good_ids)
                turns[kind] += 1
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerow(order)
            out.write(text.getvalue().encode("latin-1" if kind == "not UTF-8" else "utf-8"))


def write_customers(file, customers):
    rows = ",\n".join("  " + json.dumps(customer, ensure_ascii=False) for customer in customers)
    file.write_text(f"[\n{rows}\n]\n", encoding="utf-8", newline="\n")


def write_products(file, products):
    file.unlink(missing_ok=True)
    database = sqlite3.connect(file)
    with database:
        database.execute("CREATE TABLE products ("
                         "sku TEXT PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL)")
        database.executemany("INSERT INTO products VALUES (?, ?, ?)", products)
    database.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument("--orders", type=int, default=5000)
    options = parser.parse_args()
    dice = Dice(2025)
    customers = make_customers(dice, 400)
    products = make_products()
    options.folder.mkdir(parents=True, exist_ok=True)
    write_customers(options.folder / "customers.json", customers)
    write_products(options.folder / "products.db", products)
    write_orders(dice, options.folder / "orders.csv", options.orders, customers, products)


if __name__ == "__main__":
    main()
