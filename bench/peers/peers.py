"""What bench/peers/run and bench/peers/ik_llama share: running dsvl2, rows of figures, the table.

Rows are those of dsvl2 bench --csv.  The peer's carry its name as `engine`, and figure, at, model and quant of the rows of
dsvl2 that they are to be compared with, which follow, measured in the same run.
"""
import csv
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAMES = ["figure", "at", "unit", "value", "limit", "ratio", "model", "quant", "threads", "level", "cpu", "engine"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def common_options(parser):
    parser.add_argument("--tool", type=pathlib.Path, default=ROOT / "build" / "dsvl2", help="dsvl2 (build/dsvl2)")
    parser.add_argument("--venv", type=pathlib.Path, default=ROOT / "build" / "peers",
                        help="a virtual environment with requirements.txt, made when missing (build/peers)")
    parser.add_argument("--name", default="tiny", help="of the model in the rows (tiny)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dsvl2-options", default="", help="more options for dsvl2 bench (--dsvl2-options=--precision=fp32)")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement (3)")


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def python_of(folder):
    """The interpreter of a virtual environment, which keeps the requirements that were installed into it."""
    python, wanted, installed = folder / "bin" / "python", HERE / "requirements.txt", folder / "requirements.txt"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        say(f"== installing {wanted} into {folder}")
        if not python.exists():
            venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True, stdout=sys.stderr)
        installed.write_text(wanted.read_text())
    return python


def run_dsvl2(args, model, image, tokens):
    """The rows of dsvl2 bench."""
    say(f"== dsvl2: {model}")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.csv"
        options = ["--csv", path, "--together=1", f"--tokens={tokens}", f"--runs={args.runs}",
                   f"--threads={args.threads}", f"--name={args.name}", *args.dsvl2_options.split()]
        subprocess.run([args.tool, "bench", *options, model, *([image] if image else [])], check=True,
                       stdout=subprocess.DEVNULL)
        return read_rows(path.read_text())


def read_rows(text):
    return [dict(r, at=int(r["at"]), value=float(r["value"])) for r in csv.DictReader(text.splitlines())]


def medians(rows):
    """One row for each figure of all rounds: {(figure, at): row}."""
    groups = {}
    for row in rows:
        groups.setdefault((row["figure"], row["at"]), []).append(row)
    return {key: median_row(group) for key, group in groups.items()}


def median_row(group):
    value = statistics.median(r["value"] for r in group)
    if not group[0]["limit"]:
        return dict(group[0], value=value)
    limit = statistics.median(float(r["limit"]) for r in group)
    return dict(group[0], value=value, limit=f"{limit:.6g}", ratio=f"{value / limit:.6g}")


def compare(theirs, ours):
    """The peer's rows and those of dsvl2 beside them; the table goes to standard error.

    Raises ValueError when dsvl2 has no figure of that name at the same number of tokens or tiles."""
    theirs, ours = medians(theirs), medians(ours)
    missing = [f"{figure} at {at}" for figure, at in theirs if (figure, at) not in ours]
    if missing:
        raise ValueError(f"dsvl2 bench has no {', no '.join(missing)}")
    say(f"{'figure':<12} {'at':>5} {'engine':<24} {'its figure':>12} {'dsvl2':>12}  {'unit':<9} {'times as fast':>13}")
    for key, their in theirs.items():
        our = ours[key]
        faster = our["value"] / their["value"] if their["unit"].endswith("/s") else their["value"] / our["value"]
        say(f"{key[0]:<12} {key[1]:>5} {their['engine']:<24} {their['value']:>12.4g} {our['value']:>12.4g}  "
            f"{their['unit']:<9} {faster:>13.2f}")
    quant = next(iter(ours.values()))["quant"]
    say(f"dsvl2: {quant}; load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors\n")
    return [*theirs.values(), *(ours[key] for key in theirs)]


def write_rows(rows):
    out = csv.DictWriter(sys.stdout, NAMES, lineterminator="\n")
    out.writeheader()
    out.writerows(dict(r, value=f"{r['value']:.6g}") for r in rows)
    sys.stdout.flush()
