"""Measures DeepSeek-VL2 in PyTorch (torch_model.py), or checks it against recorded vectors of the reference.

  pytorch.py [--dtype bf16|fp32] [--threads N] [--tokens N] [--runs N] [--name NAME] MODEL IMAGE
  pytorch.py --check test/golden

Prints the figures of dsvl2 bench that can be compared, in its rows: first_token and next_tokens of a question about the
picture, from its file on; tower_time of one tile in tower and projector; prefill and decode of text.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

import safetensors.torch
import torch

import peers
import torch_model

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
# as dsvl2 bench has them
QUESTION = "What is written in this image?"
PREFILL_TOKENS = 421
DECODE_PROMPT = 32


def greedy(model, x, tokens, step=lambda logits: None):
    """The tokens after the embeddings x, [n, D].  step is told each token's logits."""
    cache = model.language.cache(len(x) + tokens)
    logits = model.language(x, cache)
    out = []
    while True:
        step(logits)
        out.append(int(logits.argmax()))
        if len(out) == tokens:
            return out
        logits = model.language(model.embed(out[-1:], []), cache)


# ---- measuring ----

def ms_since(start):
    return (time.perf_counter() - start) * 1e3


def ask(model, image, tokens):
    """Milliseconds from the picture's file to the first token and from there on, and the length of the prompt."""
    start = time.perf_counter()
    rows = model.image_rows(*model.tile(image))
    ids = model.prompt(len(rows), QUESTION)
    clock = []
    greedy(model, model.embed(ids, [rows]), 1 + tokens, lambda logits: clock.append(ms_since(start)))
    return clock[0], clock[-1] - clock[0], len(ids)


def tower_time(model, tiles):
    start = time.perf_counter()
    model.projector(model.tower(tiles))
    return ms_since(start)


def text(model, tokens):
    """Embeddings of any tokens."""
    ids = torch.randint(len(model.language.embedding), (tokens,), generator=torch.Generator().manual_seed(1))
    return model.embed(ids, [])


def prefill_time(model, x):
    start = time.perf_counter()
    greedy(model, x, 1)
    return ms_since(start)


def decode_times(model, steps):
    """Of each step."""
    clock = []
    greedy(model, text(model, DECODE_PROMPT), 1 + steps, lambda logits: clock.append(time.perf_counter()))
    return [(b - a) * 1e3 for a, b in zip(clock, clock[1:])]


def figures(model, image, tokens, runs):
    """(figure, at, unit, value): medians, after one run of each kind that is not counted."""
    tile = model.tile(image)[0][:1]
    prompt = text(model, PREFILL_TOKENS)
    asked = [ask(model, image, tokens) for _ in range(1 + runs)][1:]
    yield "first_token", asked[0][2], "ms", statistics.median(a[0] for a in asked)
    yield "next_tokens", tokens, "ms", statistics.median(a[1] for a in asked)
    yield "tower_time", 1, "ms", statistics.median([tower_time(model, tile) for _ in range(1 + runs)][1:])
    yield "prefill", PREFILL_TOKENS, "ms", statistics.median([prefill_time(model, prompt) for _ in range(1 + runs)][1:])
    yield "decode", 1, "tokens/s", 1e3 / statistics.median(decode_times(model, 1 + tokens * runs)[1:])


def bench(args):
    model = torch_model.Model(args.model, DTYPES[args.dtype])
    facts = {"limit": "", "ratio": "", "model": args.name, "quant": "bf16", "threads": args.threads,
             "level": torch.backends.cpu.get_cpu_capability().lower(), "cpu": peers.cpu_name(),
             "engine": f"PyTorch {torch.__version__} {args.dtype}"}
    peers.write_rows([dict(zip(("figure", "at", "unit", "value"), f), **facts)
                      for f in figures(model, args.image, args.tokens, args.runs)])


# ---- checking ----

def differences(model, case, golden):
    """Largest absolute differences from a recorded case, and where greedy tokens differ."""
    info = json.loads(case.read_text())
    want = safetensors.torch.load_file(case.with_suffix(".safetensors"))
    files = [f for turn in info["conversation"] for f in turn.get("images", [])]
    views = [model.tile(golden / "cases" / "images" / f, len(files) < 3) for f in files]
    out = {}
    if views:
        features = model.tower(views[0][0][:1])
        out["tower"] = (features[0] - want["vit_tile0"]).abs().max()
        out["projector"] = (model.projector(features)[0] - want["projector_tile0"]).abs().max()
    x = model.embed(info["input_ids"], [model.image_rows(*v) for v in views])
    out["embeddings"] = (x[want["inputs_embeds_at"]] - want["inputs_embeds"]).abs().max()
    logits = []
    tokens = greedy(model, x, len(info["greedy"]["tokens"]), logits.append)
    out["logits"] = (logits[0] - want["logits_last"]).abs().max()
    for top, got in zip(info["greedy"]["top5"], logits):
        out["decode"] = max(out.get("decode", 0), *((got[i] - value).abs() for i, value in top))
    out["tokens"] = float(sum(a != b for a, b in zip(tokens, info["greedy"]["tokens"])))
    if len(files) == 1 and len(info["conversation"]) == 2:
        question = info["conversation"][0]["content"].removeprefix("<image>\n")
        out["prompt"] = float(model.prompt(info["num_image_tokens"][0], question) != info["input_ids"])
    return out


LIMITS = {"tower": 1e-4, "projector": 1e-4, "embeddings": 1e-4, "logits": 1e-3, "decode": 1e-3, "tokens": 0, "prompt": 0}


def check(golden):
    """Compares in fp32 with every case of the recorded model with plain attention; true when all agree."""
    model = torch_model.Model(golden / "tiny-like", torch.float32)
    good = True
    cases = [c for c in sorted((golden / "cases" / "tiny-like").glob("*.json")) if c.with_suffix(".safetensors").exists()]
    for case in cases:
        got = differences(model, case, golden)
        bad = [k for k, v in got.items() if not v <= LIMITS[k]]
        good = good and not bad
        print("not ok" if bad else "ok", case.stem, *(f"{k} {float(v):.1e}" for k, v in got.items()))
    return good and bool(cases)


def main():
    p = argparse.ArgumentParser(description="DeepSeek-VL2 in PyTorch")
    p.add_argument("--check", type=pathlib.Path, metavar="GOLDEN", help="compare with the vectors of test/golden")
    p.add_argument("--dtype", choices=DTYPES, default="bf16")
    p.add_argument("--name", default="tiny", help="of the model in the rows (tiny)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--tokens", type=int, default=64, help="after the first (64)")
    p.add_argument("--runs", type=int, default=3, help="after one that is not counted (3)")
    p.add_argument("model", type=pathlib.Path, nargs="?")
    p.add_argument("image", type=pathlib.Path, nargs="?")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        if args.check:
            sys.exit(not check(args.check))
        if not args.image:
            p.error("MODEL and IMAGE are needed")
        bench(args)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"pytorch.py: {error}")
