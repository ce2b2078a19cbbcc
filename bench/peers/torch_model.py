"""DeepSeek-VL2 in PyTorch, for models with plain attention (Tiny): the reference's arithmetic in the way a good plain
implementation does it.  Attention is scaled_dot_product_attention, projections that share their input are one product,
experts are grouped: rows sorted by expert, one product an expert.  Keys and values are cached.

Shapes are given as [rows, columns]; n is the number of positions, D the hidden size.
"""
import json
import math
import pathlib

import safetensors
import tokenizers
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

SIDE = 384
VISION_DEFAULTS = {"heads": 16}
LANGUAGE_DEFAULTS = {"first_k_dense_replace": 0, "moe_layer_freq": 1, "n_shared_experts": None, "norm_topk_prob": False,
                     "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "routed_scaling_factor": 1.0,
                     "scoring_func": "softmax", "use_mla": True}
# what this file does; anything else would be measured wrongly
SUPPORTED = {"use_mla": False, "scoring_func": "softmax", "norm_topk_prob": False, "moe_layer_freq": 1}


class Weights:
    """The tensors of a folder by name, each read when it is asked for and converted to dtype."""

    def __init__(self, folder, dtype):
        self.dtype = dtype
        self.files = [safetensors.safe_open(p, framework="pt") for p in sorted(folder.glob("*.safetensors"))]
        self.where = {name: f for f in self.files for name in f.keys()}

    def __call__(self, *names, dtype=None):
        """One tensor, or several joined along the rows."""
        parts = [self.where[n].get_tensor(n) for n in names]
        # a copy, also where nothing is converted: pages of the file must not be read while the clock runs
        return torch.cat(parts).to(dtype or self.dtype)

    def linear(self, name):
        return self(f"{name}.weight"), self(f"{name}.bias")


# ---- pictures ----

def best_resolution(size, candidates):
    """The candidate that keeps most of the picture's pixels, then the one that wastes least; the first of equals."""
    def merit(candidate):
        scale = min(candidate[0] / size[0], candidate[1] / size[1])
        kept = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
        return kept, kept - candidate[0] * candidate[1]
    return max(candidates, key=merit)


def tile(image, candidates, crop=True):
    """An RGB picture as uint8 [1 + columns * rows, 384, 384, 3], the global view first, and (columns, rows)."""
    width, height = best_resolution(image.size, candidates) if crop else (SIDE, SIDE)
    local = ImageOps.pad(image, (width, height), color=(127, 127, 127))
    views = [ImageOps.pad(image, (SIDE, SIDE), color=(127, 127, 127))]
    views += [local.crop((x, y, x + SIDE, y + SIDE)) for y in range(0, height, SIDE) for x in range(0, width, SIDE)]
    pixels = torch.stack([torch.frombuffer(bytearray(v.tobytes()), dtype=torch.uint8) for v in views])
    return pixels.view(-1, SIDE, SIDE, 3), (width // SIDE, height // SIDE)


class Tower:
    """SigLIP: tiles as uint8 [tiles, 384, 384, 3] to [tiles, patches, width]."""

    def __init__(self, w, config):
        self.heads = config["heads"]
        self.patch, self.patch_bias = w.linear("vision.patch_embed.proj")
        self.position = w("vision.pos_embed")
        self.blocks = []
        for i in range(config["layers"]):
            parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
            self.blocks.append([w.linear(f"vision.blocks.{i}.{p}") for p in parts])
        self.norm = w.linear("vision.norm")

    def __call__(self, tiles):
        x = tiles.permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5).to(self.patch.dtype)
        x = F.conv2d(x, self.patch, self.patch_bias, stride=self.patch.shape[-1])
        x = x.flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = self.block(x, *block)
        return norm(x, self.norm)

    def block(self, x, norm1, qkv, proj, norm2, fc1, fc2):
        tiles, patches, width = x.shape
        q, k, v = F.linear(norm(x, norm1), *qkv).view(tiles, patches, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + F.linear(y.transpose(1, 2).reshape(tiles, patches, width), *proj)
        return x + F.linear(F.gelu(F.linear(norm(x, norm2), *fc1), approximate="tanh"), *fc2)


def norm(x, weight_bias):
    return F.layer_norm(x, x.shape[-1:], *weight_bias, eps=1e-6)


class Projector:
    """[tiles, patches, width] to [tiles, patches / 4, D], and these to the rows of the pictures."""

    def __init__(self, w):
        self.first, self.second = w.linear("projector.layers.0"), w.linear("projector.layers.2")
        self.newline, self.separator = w("image_newline"), w("view_seperator")

    def __call__(self, x):
        tiles, patches, width = x.shape
        side = math.isqrt(patches)
        x = x.transpose(1, 2).reshape(tiles, width, side, side)
        x = F.pad(x, (0, side % 2, 0, side % 2))
        x = F.unfold(x, 2, stride=2).transpose(1, 2)        # the channel is the slow index of a 2 x 2 block
        return F.linear(F.gelu(F.linear(x, *self.first)), *self.second)

    def rows(self, x, crop):
        """The rows of one picture, [n, D]: the global view, a separator, the local tiles as one grid."""
        columns, rows = crop
        side = math.isqrt(x.shape[1])
        grid = x[1:].view(rows, columns, side, side, -1).transpose(1, 2).reshape(rows * side, columns * side, -1)
        return torch.cat([self.lines(x[0].view(side, side, -1)), self.separator[None], self.lines(grid)])

    def lines(self, grid):
        return torch.cat([grid, self.newline.expand(len(grid), 1, -1)], 1).flatten(0, 1)


# ---- language ----

class Cache:
    """Keys and values of all layers, [layers, heads, positions, head size] each; n positions are taken."""

    def __init__(self, layers, heads, positions, size, dtype):
        self.keys, self.values = torch.zeros(2, layers, heads, positions, size, dtype=dtype)
        self.n = 0

    def put(self, layer, keys, values):
        """Appends [heads, n, head size] behind the n positions of the layers before; gives all of the layer."""
        end = self.n + keys.shape[1]
        self.keys[layer, :, self.n:end], self.values[layer, :, self.n:end] = keys, values
        return self.keys[layer, :, :end], self.values[layer, :, :end]


class Gated:
    """down(silu(gate x) * up x)"""

    def __init__(self, w, name):
        self.gate_up = w(f"{name}.gate_proj.weight", f"{name}.up_proj.weight")
        self.down = w(f"{name}.down_proj.weight")

    def __call__(self, x):
        gate, up = F.linear(x, self.gate_up).chunk(2, -1)
        return F.linear(F.silu(gate) * up, self.down)


class Experts:
    """Routed experts and the shared ones."""

    def __init__(self, w, name, config):
        self.used, self.scale = config["num_experts_per_tok"], config["routed_scaling_factor"]
        self.router = w(f"{name}.gate.weight", dtype=torch.float32)
        self.experts = [Gated(w, f"{name}.experts.{i}") for i in range(config["n_routed_experts"])]
        self.shared = Gated(w, f"{name}.shared_experts") if config["n_shared_experts"] else None

    def __call__(self, x):
        weight, pick = F.linear(x.float(), self.router).softmax(-1).topk(self.used, sorted=False)
        order = pick.flatten().argsort()
        rows = order // self.used
        counts = pick.flatten().bincount(minlength=len(self.experts)).tolist()
        parts = x[rows].split(counts)
        y = torch.cat([expert(part) for expert, part in zip(self.experts, parts) if len(part)])
        y = y * (weight.flatten()[order] * self.scale)[:, None]
        y = torch.zeros(x.shape, dtype=torch.float32).index_add_(0, rows, y).to(x.dtype)
        return y if self.shared is None else y + self.shared(x)


class Layer:
    def __init__(self, w, i, config):
        name = f"language.model.layers.{i}"
        self.i, self.eps = i, config["rms_norm_eps"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.before_attention = w(f"{name}.input_layernorm.weight")
        self.qkv = w(*(f"{name}.self_attn.{p}_proj.weight" for p in "qkv"))
        self.out = w(f"{name}.self_attn.o_proj.weight")
        self.before_mlp = w(f"{name}.post_attention_layernorm.weight")
        dense = not config["n_routed_experts"] or i < config["first_k_dense_replace"]
        self.mlp = Gated(w, f"{name}.mlp") if dense else Experts(w, f"{name}.mlp", config)

    def __call__(self, x, cache, cos, sin):
        x = x + self.attention(F.rms_norm(x, x.shape[-1:], self.before_attention, self.eps), cache, cos, sin)
        return x + self.mlp(F.rms_norm(x, x.shape[-1:], self.before_mlp, self.eps))

    def attention(self, x, cache, cos, sin):
        n = len(x)
        qkv = F.linear(x, self.qkv).view(n, self.heads + 2 * self.kv_heads, -1).transpose(0, 1)
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads])
        k, v = cache.put(self.i, rotate(k, cos, sin), v)
        # a prompt begins at position 0, so that the causal mask is square; later rows come alone
        y = F.scaled_dot_product_attention(rotate(q, cos, sin)[None], k[None], v[None], is_causal=n > 1,
                                           enable_gqa=self.heads != self.kv_heads)
        return F.linear(y[0].transpose(0, 1).reshape(n, -1), self.out)


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Language:
    def __init__(self, w, config):
        self.config = config
        self.embedding = w("language.model.embed_tokens.weight")
        self.layers = [Layer(w, i, config) for i in range(config["num_hidden_layers"])]
        self.norm = w("language.model.norm.weight")
        self.head = w("language.lm_head.weight")
        self.size = config["hidden_size"] // config["num_attention_heads"]
        angle = torch.outer(torch.arange(config["max_position_embeddings"]).float(),
                            config["rope_theta"] ** -(torch.arange(0, self.size, 2).float() / self.size))
        angle = torch.cat([angle, angle], -1)
        self.cos, self.sin = angle.cos().to(w.dtype), angle.sin().to(w.dtype)

    def cache(self, positions):
        return Cache(len(self.layers), self.config["num_key_value_heads"], positions, self.size, self.embedding.dtype)

    def __call__(self, x, cache):
        """Embeddings [n, D] behind what the cache holds: n > 1 only into an empty one.  Logits of the last row."""
        assert len(x) == 1 or cache.n == 0
        end = cache.n + len(x)
        cos, sin = self.cos[cache.n:end], self.sin[cache.n:end]
        for layer in self.layers:
            x = layer(x, cache, cos, sin)
        cache.n = end
        x = F.rms_norm(x[-1:], x.shape[-1:], self.norm, self.config["rms_norm_eps"])
        return F.linear(x, self.head)[0]


# ---- the whole ----

class Model:
    def __init__(self, folder, dtype):
        """Raises ValueError for a model of another form."""
        folder = pathlib.Path(folder)
        config = json.loads((folder / "config.json").read_text())
        language = LANGUAGE_DEFAULTS | config["language_config"]
        other = [f"{k} = {language[k]}" for k, v in SUPPORTED.items() if language[k] != v]
        if other:
            raise ValueError(f"{folder}: not supported here: {', '.join(other)}")
        w = Weights(folder, dtype)
        self.candidates = config["candidate_resolutions"]
        self.tower = Tower(w, VISION_DEFAULTS | config["vision_config"])
        self.projector = Projector(w)
        self.language = Language(w, language)
        self.bos = language["bos_token_id"]
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.image_token = self.tokenizer.token_to_id("<image>")

    def prompt(self, image_tokens, question):
        """The ids of a question about one picture."""
        before, after = (self.tokenizer.encode(text, add_special_tokens=False).ids
                         for text in ("<|User|>: ", f"\n{question}\n\n<|Assistant|>:"))
        return [self.bos, *before, *[self.image_token] * image_tokens, *after]

    def embed(self, ids, pictures):
        """Embeddings of a prompt whose places of <image> are the rows of the pictures."""
        ids = torch.as_tensor(ids)
        x = F.embedding(ids, self.language.embedding)
        if pictures:
            x[ids == self.image_token] = torch.cat(pictures)
        return x

    def image_rows(self, tiles, crop):
        return self.projector.rows(self.projector(self.tower(tiles)), crop)

    def tile(self, file, crop=True):
        return tile(Image.open(file).convert("RGB"), self.candidates, crop)
