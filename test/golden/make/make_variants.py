"""Checkpoints of other forms than the published ones, and cases whose expected values ref_numpy computes.

    python make_variants.py [NAME ...]      needs numpy, Pillow and regex, not the reference

Each one states in config.json what the published files leave alone: see SPECS and ../README.md.
"""
import hashlib
import json
import os
import shutil
import sys

import numpy as np

import ref_numpy as R
import ref_prompt
from check import GOLDEN, rgb
from ref_tokenizer import Tokenizer

NEW_TOKENS = 8
STAGE_ROWS = (0, 1, 364, 728)                                     # those behind the grid's last patch stay zero
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"

PLAIN = dict(use_mla=False, kv_lora_rank=None, q_lora_rank=None, qk_nope_head_dim=0, qk_rope_head_dim=0, v_head_dim=0)

SPECS = {
    "variant-a": dict(
        seed=11, dtype="F32", shards=1, tokenizer="small-like", mean=[0.5] * 3, std=[0.5] * 3,
        candidates=[[56, 56], [56, 112], [112, 56], [112, 112]],
        language=dict(PLAIN, hidden_size=24, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=4,
                      intermediate_size=44, moe_intermediate_size=12, n_routed_experts=6, num_experts_per_tok=2,
                      n_shared_experts=1, first_k_dense_replace=2, moe_layer_freq=2, norm_topk_prob=True,
                      routed_scaling_factor=1.5, topk_method="greedy", rope_theta=1000000, rms_norm_eps=0.01,
                      vocab_size=1011, bos_token_id=1000, eos_token_id=1001, max_position_embeddings=512),
        vision=dict(image_size=56, patch_size=8, width=20, heads=2, layers=1, mlp_ratio=2.6),
        projector=dict(downsample_ratio=2)),
    "variant-b": dict(
        seed=50, dtype="F16", shards=2, tokenizer="base-like", mean=[0.48, 0.46, 0.41], std=[0.27, 0.26, 0.28],
        candidates=[[48, 48], [96, 48], [48, 96]],
        language=dict(use_mla=True, q_lora_rank=20, kv_lora_rank=28, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=14,
                      hidden_size=30, num_attention_heads=3, num_key_value_heads=3, num_hidden_layers=3,
                      intermediate_size=52, moe_intermediate_size=20, n_routed_experts=8, num_experts_per_tok=3,
                      n_shared_experts=1, first_k_dense_replace=1, norm_topk_prob=True, routed_scaling_factor=2.5,
                      scoring_func="sigmoid", topk_method="noaux_tc", n_group=4, topk_group=2, rms_norm_eps=0.01,
                      vocab_size=963, bos_token_id=0, eos_token_id=1, max_position_embeddings=512),
        vision=dict(image_size=48, patch_size=6, width=36, heads=3, layers=2, mlp_ratio=3.0),
        projector=dict(downsample_ratio=2)),
    "variant-c": dict(
        seed=39, dtype="BF16", shards=1, tokenizer="base-like", mean=[0.5, 0.4, 0.6], std=[0.5, 0.25, 1.0],
        candidates=[[70, 70], [140, 70], [70, 140]],
        language=dict(PLAIN, hidden_size=36, num_attention_heads=6, num_key_value_heads=1, num_hidden_layers=3,
                      intermediate_size=50, moe_intermediate_size=18, n_routed_experts=5, num_experts_per_tok=1,
                      n_shared_experts=None, first_k_dense_replace=0, norm_topk_prob=True, routed_scaling_factor=1.5,
                      topk_method="greedy", vocab_size=970, bos_token_id=0, eos_token_id=1, max_position_embeddings=512),
        vision=dict(image_size=70, patch_size=7, width=22, heads=1, layers=2, mlp_ratio=3.0),
        projector=dict(downsample_ratio=3, depth=3, mlp_ratio=2)),
}

TURN = lambda content, *images: [{"role": "<|User|>", "content": content, **({"images": list(images)} if images else {})},
                                 {"role": "<|Assistant|>", "content": ""}]
CASES = {"one_image": TURN("<image>\nRead the text.", "two_tiles.png"), "no_image": TURN("How many sides has a cube?")}


# ---------------------------------------------------------------- checkpoints

def layout(spec):
    """(name, shape, gain) of every tensor; gain None: a norm, a bias has one dimension and a gain."""
    lm, v, p = spec["language"], spec["vision"], dict(dict(depth=2, mlp_ratio=1), **spec["projector"])
    D, W = lm["hidden_size"], v["width"]
    grid, mlp = v["image_size"] // v["patch_size"], int(v["width"] * v["mlp_ratio"])

    def linear(name, rows, cols, gain=1.4, bias=True):
        yield name + ".weight", (rows, cols), gain
        if bias:
            yield name + ".bias", (rows,), 0.1

    def ffn(name, inner):
        for part, rows, cols in (("gate_proj", inner, D), ("up_proj", inner, D), ("down_proj", D, inner)):
            yield from linear(f"{name}.{part}", rows, cols, 1.6, False)

    yield "vision.patch_embed.proj.weight", (W, 3, v["patch_size"], v["patch_size"]), 1.4
    yield "vision.patch_embed.proj.bias", (W,), 0.1
    yield "vision.pos_embed", (1, grid * grid, W), 0.3 * W ** 0.5
    for i in range(v["layers"]):
        b = f"vision.blocks.{i}."
        for n in ("norm1", "norm2"):
            yield b + n + ".weight", (W,), None
            yield b + n + ".bias", (W,), 0.1
        yield from linear(b + "attn.qkv", 3 * W, W)
        yield from linear(b + "attn.proj", W, W, 1.0)
        yield from linear(b + "mlp.fc1", mlp, W)
        yield from linear(b + "mlp.fc2", W, mlp, 1.0)
    yield "vision.norm.weight", (W,), None
    yield "vision.norm.bias", (W,), 0.1
    inner = D * p["mlp_ratio"]
    for i in range(p["depth"]):
        yield from linear(f"projector.layers.{2 * i}", D if i == p["depth"] - 1 else inner,
                          W * p["downsample_ratio"] ** 2 if i == 0 else inner)
    yield "image_newline", (D,), 1.0
    yield "view_seperator", (D,), 1.0
    heads = lm["num_attention_heads"]
    for i in range(lm["num_hidden_layers"]):
        b = f"language.model.layers.{i}."
        a = b + "self_attn."
        if lm["use_mla"]:
            nope, rope, vd, rank, qr = (lm[k] for k in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank",
                                                        "q_lora_rank"))
            yield from linear(a + "q_a_proj", qr, D, bias=False)
            yield a + "q_a_layernorm.weight", (qr,), None
            yield from linear(a + "q_b_proj", heads * (nope + rope), qr, bias=False)
            yield from linear(a + "kv_a_proj_with_mqa", rank + rope, D, bias=False)
            yield a + "kv_a_layernorm.weight", (rank,), None
            yield from linear(a + "kv_b_proj", heads * (nope + vd), rank, bias=False)
        else:
            vd = D // heads
            yield from linear(a + "q_proj", D, D, bias=False)
            for n in "kv":
                yield from linear(f"{a}{n}_proj", lm["num_key_value_heads"] * vd, D, bias=False)
        yield from linear(a + "o_proj", D, heads * vd, 1.0, False)
        for n in ("input_layernorm", "post_attention_layernorm"):
            yield f"{b}{n}.weight", (D,), None
        if i >= lm["first_k_dense_replace"] and i % lm.get("moe_layer_freq", 1) == 0:
            e = lm["n_routed_experts"]
            yield from linear(b + "mlp.gate", e, D, 1.5, False)
            if lm["topk_method"] == "noaux_tc":
                yield b + "mlp.gate.e_score_correction_bias", (e,), 0.3
            for j in range(e):
                yield from ffn(f"{b}mlp.experts.{j}", lm["moe_intermediate_size"])
            if lm["n_shared_experts"]:
                yield from ffn(b + "mlp.shared_experts", lm["n_shared_experts"] * lm["moe_intermediate_size"])
        else:
            yield from ffn(b + "mlp", lm["intermediate_size"])
    yield "language.model.embed_tokens.weight", (lm["vocab_size"], D), D ** 0.5
    yield "language.model.norm.weight", (D,), None
    yield "language.lm_head.weight", (lm["vocab_size"], D), 4.0


def weights(spec):
    """[(name, shape, bytes)]"""
    rng, out = np.random.default_rng(spec["seed"]), []
    for name, shape, gain in layout(spec):
        x = rng.standard_normal(shape, np.float32)
        if gain is None:
            x = np.clip(1 + 0.25 * x, 0.3, 1.9)
        else:
            x *= gain / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 and "pos_embed" not in name else gain
        if "pos_embed" in name:
            x /= np.float32(shape[-1] ** 0.5)
        if "correction_bias" in name:
            x -= np.float32(0.45)                                 # many biased scores are below 0, also in chosen groups
        if spec["dtype"] == "BF16":
            u = x.view(np.uint32)
            x = ((u + 0x7fff + ((u >> 16) & 1)) >> 16).astype(np.uint16)
        out.append((name, shape, x.astype(np.float16).tobytes() if spec["dtype"] == "F16" else x.tobytes()))
    return out


def write_tensors(path, tensors):
    """tensors: (name, dtype, shape, bytes); bytes last, so that every tensor is aligned."""
    tensors = sorted(tensors, key=lambda t: t[1] == "U8")
    head, at = {}, 0
    for name, dtype, shape, data in tensors:
        head[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(head, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head + b"".join(t[3] for t in tensors))


def dump(path, obj):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(obj, f, indent=1, ensure_ascii=False, sort_keys=True)
        f.write("\n")


def write_checkpoint(folder, spec):
    os.makedirs(folder, exist_ok=True)
    lm, v, p = spec["language"], spec["vision"], spec["projector"]
    dump(os.path.join(folder, "config.json"), {
        "model_type": "deepseek_vl_v2", "tile_tag": "2D", "global_view_pos": "head",
        "candidate_resolutions": spec["candidates"], "language_config": dict(lm, model_type="deepseek_v2"),
        "vision_config": dict(v, model_type="vision"),
        "projector_config": dict(p, model_type="mlp_projector", input_dim=v["width"], n_embed=lm["hidden_size"])})
    dump(os.path.join(folder, "processor_config.json"), {
        "candidate_resolutions": spec["candidates"], "patch_size": v["patch_size"], "image_mean": spec["mean"],
        "image_std": spec["std"], "downsample_ratio": p["downsample_ratio"], "normalize": True, "image_token": "<image>",
        "sft_format": "deepseek"})
    for n in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(os.path.join(GOLDEN, spec["tokenizer"], n), folder)
    tensors = [(n, spec["dtype"], s, b) for n, s, b in weights(spec)]
    if spec["shards"] == 1:
        write_tensors(os.path.join(folder, "model.safetensors"), tensors)
        return
    names = [f"model-{i + 1:05d}-of-{spec['shards']:06d}.safetensors" for i in range(spec["shards"])]
    for i, name in enumerate(names):                              # every layer lies in all shards
        write_tensors(os.path.join(folder, name), tensors[i::len(names)])
    dump(os.path.join(folder, "model.safetensors.index.json"), {
        "metadata": {"total_size": sum(len(t[3]) for t in tensors)},
        "weight_map": {t[0]: names[i % len(names)] for i, t in enumerate(tensors)}})


# ---------------------------------------------------------------- cases

def routing_margin(log, lm):
    """Closest call of any row: last chosen against first rejected expert and, with groups, group. Equal zeros are no call."""
    k, least = lm["num_experts_per_tok"], np.inf
    for score, choice, bias in log:
        s = -np.sort(-choice, -1)
        gap = np.where(s[:, k - 1] == s[:, k], np.inf, s[:, k - 1] - s[:, k])
        least = min(least, gap.min())
        if lm.get("n_group", 1) > 1:
            g = -np.sort(-np.sort((score + bias).reshape(len(score), lm["n_group"], -1), -1)[..., -2:].sum(-1), -1)
            least = min(least, (g[:, lm["topk_group"] - 1] - g[:, lm["topk_group"]]).min())
    return float(least)


def outside_chosen(log, k):
    """Rows in which an expert outside the chosen groups is taken, because its 0 beats a negative score."""
    return sum(int((np.take_along_axis(c, np.argsort(-c, -1, kind="stable")[:, :k], 1) == 0).any(-1).sum()) for _, c, _ in log)


def greedy(x, t, cfg, tok, eos):
    """8 tokens, each from a full run over everything before it."""
    tokens, margins, top = [], [], []
    while len(tokens) < NEW_TOKENS and (not tokens or tokens[-1] != eos):
        logits = R.language(x, t, cfg)[1]
        order = np.argsort(-logits, kind="stable")[:5]
        margins.append(round(float(logits[order[0]] - logits[order[1]]), 5))
        top.append([[int(i), float(logits[i])] for i in order])
        tokens.append(int(order[0]))
        x = np.concatenate([x, t["language.model.embed_tokens.weight"][tokens[-1:]]])
    return {"tokens": tokens, "margins": margins, "top5": top, "text": tok.decode(tokens),
            "text_without_special": tok.decode(tokens, True), "stopped_by_eos": tokens[-1] == eos}


def record(folder, name, conversation, spec, t, cfg, tok):
    """One case; returns (smallest routing margin, smallest greedy margin, tokens, rows that leave their groups)."""
    lm, v, ratio = spec["language"], spec["vision"], spec["projector"]["downsample_ratio"]
    size, files = v["image_size"], [n for m in conversation for n in m.get("images", [])]
    pictures = [rgb(os.path.join(GOLDEN, "cases", "images", n)) for n in files]
    images = [R.tile(a, spec["candidates"], True, size, [int(c * 255) for c in spec["mean"]]) for a in pictures]
    pixels = dict(mean=spec["mean"], std=spec["std"])
    ids_of = {"bos": tok.added[BOS]["id"], "eos": tok.added[EOS]["id"], "image": tok.added["<image>"]["id"]}
    ids, grids = ref_prompt.assemble(tok, ids_of, conversation, [(a.shape[1], a.shape[0]) for a in pictures],
                                     spec["candidates"], size, -(-(size // v["patch_size"]) // ratio))
    ids = np.array(ids, np.int32)
    mask = (ids == ids_of["image"]).astype(np.uint8)
    n = len(ids)
    log, plain = [], R.scores

    def listening(x, gate, bias, c):
        log.append((*plain(x, gate, bias, c), bias))
        return log[-1][:2]

    R.scores = listening
    try:
        x, vis = R.embed(ids, mask, images, t, cfg, **pixels)
        last, logits, routing = R.language(x, t, cfg)
        answer = greedy(x, t, cfg, tok, ids_of["eos"])
    finally:
        R.scores = plain
    at = sorted({0, 1, *np.flatnonzero(np.diff(mask)).tolist(), *(np.flatnonzero(np.diff(mask)) + 1).tolist(), n - 1})
    double = x.astype(np.float64)
    out = {"input_ids": ids, "images_seq_mask": mask, "inputs_embeds_at": np.array(at, np.int32), "inputs_embeds": x[at],
           "inputs_embeds_rows": np.stack([double.sum(1), np.sqrt((double ** 2).sum(1))], 1),
           "hidden_last": last, "logits_last": logits}
    if images:
        tiles, stages = images[0][0], []
        feats = R.vit(tiles, t, cfg, stages=stages, **pixels)
        stages.append(feats)
        rows = np.zeros((len(stages), len(STAGE_ROWS), v["width"]))
        for i, r in enumerate(STAGE_ROWS):
            if r < feats.shape[1]:
                rows[:, i] = [s[0, r] for s in stages]
        proj = R.projector(feats, t).astype(np.float64)
        out.update(vit_stages_tile0=rows, vit_tile0=vis[0], projector_tile0=vis[1],
                   projector_tiles=np.stack([proj.sum((1, 2)), np.sqrt((proj ** 2).sum((1, 2)))], 1))
    layer = min(routing)
    pick, weight = routing[layer]
    order = np.argsort(pick, 1)
    out.update(router_experts=np.take_along_axis(pick, order, 1).astype(np.int32),
               router_weights=np.take_along_axis(weight, order, 1))
    info = {"conversation": conversation, "input_ids": ids.tolist(), "images_spatial_crop": grids,
            "tiles": [hashlib.sha256(p.tobytes()).hexdigest() for ts, _ in images for p in ts],
            "router_layer_all": layer,
            "router_last": {str(i): {"experts": p[-1][np.argsort(-w[-1])].tolist(),
                                     "weights": (-np.sort(-w[-1])).astype(float).tolist()} for i, (p, w) in routing.items()},
            "greedy": answer}
    kinds = {"i": "I32", "u": "U8", "f": "F32"}
    tensors = [(k, a if a.dtype.kind != "f" else a.astype(np.float32)) for k, a in out.items()]
    write_tensors(os.path.join(folder, name + ".safetensors"),
                  [(k, kinds[a.dtype.kind], a.shape, np.ascontiguousarray(a).tobytes()) for k, a in tensors])
    with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(w, ensure_ascii=False)}" for k, w in info.items()) + "\n}\n")
    return routing_margin(log, lm), min(answer["margins"]), n, outside_chosen(log, lm["num_experts_per_tok"])


def main():
    for name in sys.argv[1:] or SPECS:
        spec = SPECS[name]
        folder, cases = os.path.join(GOLDEN, name), os.path.join(GOLDEN, "cases", name)
        os.makedirs(cases, exist_ok=True)
        write_checkpoint(folder, spec)
        cfg, t = R.load(folder)
        tok = Tokenizer(os.path.join(folder, "tokenizer.json"))
        for case, conversation in CASES.items():
            routed, first, n, left = record(cases, case, conversation, spec, t, cfg, tok)
            assert routed > 5e-4 and first > 5e-3, "too close to call: take another seed"
            print(f"{name}/{case}: {n} tokens, closest routing {routed:.1e}, closest greedy step {first:.1e}, "
                  f"experts outside of the chosen groups in {left} rows", flush=True)


if __name__ == "__main__":
    main()
