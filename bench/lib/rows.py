"""Rows of the bench: a file of comma-separated values, one figure a row (doc/SPEED.md)."""

import csv

NAMES = ["figure", "at", "unit", "value", "limit", "ratio", "model", "quant", "threads", "level", "cpu", "engine"]


def read(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["at"] = int(row["at"])
        row["value"] = float(row["value"])
        for name in ("limit", "ratio"):
            row[name] = float(row[name]) if row[name] else None
    return rows


def append(path, rows):
    """Rows as read() gives them; their ratios are computed here."""
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, NAMES, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        for row in rows:
            limit = row.get("limit")
            writer.writerow(dict(row, value=f"{row['value']:.6g}", limit=f"{limit:.6g}" if limit else "",
                                 ratio=f"{row['value'] / limit:.6g}" if limit else ""))


def find(rows, figure, **wanted):
    """Rows of a figure whose other fields are as wanted."""
    return [r for r in rows if r["figure"] == figure and all(r[k] == v for k, v in wanted.items())]
