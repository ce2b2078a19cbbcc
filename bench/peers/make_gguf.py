"""make_gguf.py q8|q4 MODEL FILE: a GGUF file with the shapes of Tiny's language model and random weights.

ik_llama.cpp knows no DeepSeek-VL2, but its architecture ernie4_5-moe does the same work: plain attention, a dense first
layer, routed and shared experts.  (It divides the weights of the chosen experts by their sum, which costs nothing.)
q8 is Q8_0 throughout, q4 is Q4_0 with an output matrix in Q8_0.  Blocks are random bits behind a fixed scale.
"""
import argparse
import json
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

ARCH = "ernie4_5-moe"
TYPES = {"q8": Type.Q8_0, "q4": Type.Q4_0}
SCALES = {Type.Q8_0: 0.02 / 73, Type.Q4_0: 0.02 / 4.6}     # weights of a deviation of 0.02
POOL_ROWS = 4096


def tensors(c, body):
    """(name, shape, type) of every tensor; body is the type of the matrices."""
    d, experts, width = c["hidden_size"], c["n_routed_experts"], c["moe_intermediate_size"]
    yield "token_embd.weight", (c["vocab_size"], d), Type.Q8_0
    yield "output_norm.weight", (d,), Type.F32
    yield "output.weight", (c["vocab_size"], d), Type.Q8_0
    for i in range(c["num_hidden_layers"]):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{i}.{name}.weight", (d,), Type.F32
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{i}.{name}.weight", (d, d), body
        if i < c["first_k_dense_replace"]:
            yield from gated(f"blk.{i}.ffn", "", (), c["intermediate_size"], d, body)
            continue
        yield f"blk.{i}.ffn_gate_inp.weight", (experts, d), Type.F32
        yield from gated(f"blk.{i}.ffn", "_exps", (experts,), width, d, body)
        yield from gated(f"blk.{i}.ffn", "_shexp", (), width * c["n_shared_experts"], d, body)


def gated(prefix, suffix, experts, width, d, body):
    for name in ("gate", "up"):
        yield f"{prefix}_{name}{suffix}.weight", (*experts, width, d), body
    yield f"{prefix}_down{suffix}.weight", (*experts, d, width), body


def add_settings(out, c):
    def u32(key, value):
        out.add_uint32(f"{ARCH}.{key}", value)

    u32("vocab_size", c["vocab_size"])
    u32("context_length", c["max_position_embeddings"])
    u32("embedding_length", c["hidden_size"])
    u32("block_count", c["num_hidden_layers"])
    u32("feed_forward_length", c["intermediate_size"])
    u32("attention.head_count", c["num_attention_heads"])
    u32("attention.head_count_kv", c["num_key_value_heads"])
    u32("rope.dimension_count", c["hidden_size"] // c["num_attention_heads"])
    u32("expert_count", c["n_routed_experts"])
    u32("expert_used_count", c["num_experts_per_tok"])
    u32("expert_feed_forward_length", c["moe_intermediate_size"])
    u32("expert_shared_feed_forward_length", c["moe_intermediate_size"] * c["n_shared_experts"])
    u32("leading_dense_block_count", c["first_k_dense_replace"])
    u32("interleave_moe_layer_step", 1)
    out.add_float32(f"{ARCH}.attention.layer_norm_rms_epsilon", 1e-6)
    out.add_float32(f"{ARCH}.rope.freq_base", 10000.0)
    out.add_tokenizer_model("no_vocab")
    out.add_uint32("general.quantization_version", 2)


def random_rows(rng, kind, columns):
    """POOL_ROWS rows as they lie in the file."""
    if kind == Type.F32:
        return rng.standard_normal((POOL_ROWS, columns), dtype=np.float32) * np.float32(0.02)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (POOL_ROWS * columns // block, size), np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(SCALES[kind]).tobytes(), np.uint8)
    return blocks.reshape(POOL_ROWS, columns // block * size)


def write(config, body, path):
    plan = list(tensors(config, body))
    out = gguf.GGUFWriter(path, ARCH)
    add_settings(out, config)
    for name, shape, kind in plan:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        stored = shape if kind == Type.F32 else gguf.quant_shape_to_byte_shape(shape, kind)
        out.add_tensor_info(name, stored, np.dtype(np.float32 if kind == Type.F32 else np.uint8),
                            int(np.prod(shape)) // block * size, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_ti_data_to_file()
    rng, pools = np.random.default_rng(1), {}
    for _, shape, kind in plan:
        if len(shape) == 1:
            out.write_tensor_data(np.ones(shape, np.float32))
            continue
        if (kind, shape[-1]) not in pools:
            pools[kind, shape[-1]] = random_rows(rng, kind, shape[-1])
        pool = pools[kind, shape[-1]]
        out.write_tensor_data(np.resize(pool, (int(np.prod(shape[:-1])), pool.shape[1])))
    out.close()


def main():
    parser = argparse.ArgumentParser(description="Writes a GGUF file with the shapes of Tiny and random weights.")
    parser.add_argument("quant", choices=TYPES)
    parser.add_argument("model", type=pathlib.Path, help="a folder of Tiny, whose config.json is read")
    parser.add_argument("file", type=pathlib.Path)
    args = parser.parse_args()
    config = json.loads((args.model / "config.json").read_text())["language_config"]
    part = args.file.with_suffix(".part")
    write(config, TYPES[args.quant], part)
    part.rename(args.file)      # a file that is there is whole


if __name__ == "__main__":
    main()
