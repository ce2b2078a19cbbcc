"""Log-probabilities of candidate answers behind the prompts of recorded cases: ../scored/CHECKPOINT.json.

    python make_scored.py [CHECKPOINT ...]      needs numpy, Pillow and regex, not the reference

A candidate is tokenized alone, special tokens off, and its log-probability is the sum of ln P(token | everything before) over
its tokens and the end token, each from one full run of ref_numpy over prompt and candidate.
"""
import json
import os
import sys

import numpy as np

import ref_numpy as R
from check import GOLDEN, rgb
from ref_tokenizer import Tokenizer

CHECKPOINTS = ("tiny-like", "small-like", "base-like", "variant-a", "variant-b", "variant-c")
CASES = ("no_image", "one_image", "two_images")
END = "<｜end▁of▁sentence｜>"
LONG = " 314159265358979323846264338327950288419716939937510 58209749445923078164"      # more than a page of 64


def log_softmax(x):
    x = x.astype(np.float64)
    m = x.max(-1, keepdims=True)
    return x - m - np.log(np.exp(x - m).sum(-1, keepdims=True))


def prompt_rows(folder, info, tok, t, cfg):
    with open(os.path.join(folder, "processor_config.json")) as f:
        p = json.load(f)
    mean, std = p["image_mean"], p["image_std"]
    size = cfg["vision_config"].get("image_size", 384)
    files = [n for m in info["conversation"] for n in m.get("images", [])]
    images = [R.tile(rgb(os.path.join(GOLDEN, "cases", "images", n)), [tuple(c) for c in p["candidate_resolutions"]],
                     len(files) <= 2, size, [int(c * 255) for c in mean]) for n in files]
    ids = np.array(info["input_ids"])
    mask = ids == tok.added["<image>"]["id"]
    return R.embed(ids, mask, images, t, cfg, mean=mean, std=std)[0]


def score(rows, tokens, end, t, cfg):
    """ln P(tokens and end | rows)"""
    embed = t["language.model.embed_tokens.weight"]
    x = np.concatenate([rows, embed[tokens]]) if tokens else rows
    logits = R.language(x, t, cfg, len(tokens) + 1)[1]
    return float(log_softmax(logits)[np.arange(len(tokens) + 1), tokens + [end]].sum())


def main():
    for name in sys.argv[1:] or CHECKPOINTS:
        folder, cases = os.path.join(GOLDEN, name), os.path.join(GOLDEN, "cases", name)
        cfg, t = R.load(folder)
        tok = Tokenizer(os.path.join(folder, "tokenizer.json"))
        out = {}
        for case in CASES:
            path = os.path.join(cases, case + ".json")
            if not os.path.exists(path):
                continue
            with open(path, encoding="utf-8") as f:
                info = json.load(f)
            rows = prompt_rows(folder, info, tok, t, cfg)
            said = info["greedy"]["text_without_special"]
            out[case] = []
            for text in ("", " yes", " no", "yes", " yes, of course", " yes, it is", " yes, it is", " <|Assistant|>", said, LONG):
                tokens = [i for piece in tok.pieces(text) for i in tok.word(piece)]
                out[case].append({"text": text, "tokens": tokens, "logprob": score(rows, tokens, tok.added[END]["id"], t, cfg)})
            print(f"{name}/{case}: {len(rows)} rows, " + ", ".join(f"{c['logprob']:.2f} ({len(c['tokens'])})" for c in out[case]),
                  flush=True)
        os.makedirs(os.path.join(GOLDEN, "scored"), exist_ok=True)
        with open(os.path.join(GOLDEN, "scored", name + ".json"), "w", encoding="utf-8") as f:
            f.write("{\n" + ",\n".join(f" {json.dumps(k)}: [\n" + ",\n".join(
                "  " + json.dumps(c, ensure_ascii=False) for c in v) + "\n ]" for k, v in out.items()) + "\n}\n")


if __name__ == "__main__":
    main()
