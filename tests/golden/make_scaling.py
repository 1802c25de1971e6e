#!/usr/bin/env python3
"""Golden vectors of Scaling Transformers (Jaszczur 2021); options and format as in make_golden.py.

The straight-through estimate of the hard branch is a mask whose value is the chosen unit's and whose
derivative is the soft mask's: in complex steps, one-hot + i Im(m)."""
import numpy as np

import make_golden as g

# ---------------------------------------------------------------- formulas


def softmax(z):
    e = np.exp(z - z.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sparse_ffn(p, x, cfg):
    """Section 3.1. z (B,T,K,N); the first of equal logits is chosen; with a coin below quant_prob,
    or in evaluation, one unit of a block, else all of them by their soft mask."""
    blocks = cfg.f // cfg.block
    z = x @ p["ffn.c1"] @ p["ffn.c2"] + p["ffn.cb"]
    z = z.reshape(*z.shape[:-1], blocks, cfg.block)
    m = softmax(z)
    mask, factor = m, 1
    if not cfg.training or cfg.coin < cfg.quant_prob:
        noise = cfg.tau * -np.log(-np.log(np.clip(cfg.noise, 1e-6, 1 - 1e-6))) if cfg.training else 0
        score = z.real + (noise.reshape(z.shape) if cfg.training else 0)
        mask = (np.arange(cfg.block) == score.argmax(-1)[..., None]).astype(z.dtype)
        if cfg.training and np.iscomplexobj(m):
            mask = mask + 1j * m.imag
        factor = m.real if cfg.scaled else 1
    u = (x @ p["ffn.w1"].T).reshape(z.shape)  # its sign by real parts: steps multiply to 1e-60
    h = np.where(u.real * mask.real > 0, u * mask, 0) * factor
    return h.reshape(*x.shape[:-1], cfg.f) @ p["ffn.w2"] + p["ffn.b2"]


def mult(x, gate, shared, bias):
    """Section 3.2: y[s,m] = sum_i x_i g[i,s] e[i,m]."""
    y = np.einsum("bti,is,im->btsm", x, gate, shared)
    return y.reshape(*x.shape[:2], -1) + bias


def conv(y, kernel, bias, modules):
    """Over positions (the past) and modules (both sides). kernel (taps,side,in,out)."""
    taps, side = kernel.shape[:2]
    grid = y.reshape(*y.shape[:2], modules, -1)
    length = grid.shape[1]
    padded = np.pad(grid, ((0, 0), (taps - 1, 0), (side // 2, side // 2), (0, 0)))
    out = 0
    for a in range(taps):
        for b in range(side):
            out = out + padded[:, a : a + length, b : b + modules] @ kernel[a, b]
    return (out + bias).reshape(*y.shape[:2], -1)


def modules_attention(p, x, cfg):
    s = cfg.modules
    y = mult(x, p["mixer.g"], p["mixer.e"], p["mixer.b"])
    q = conv(y, p["mixer.conv_q"], p["mixer.b_q"], s)
    k = q if cfg.share_qk else conv(y, p["mixer.conv_k"], p["mixer.b_k"], s)
    seen = y
    if cfg.v_concat == 1:
        parts = [i.reshape(*x.shape[:2], s, -1) for i in (y, x)]
        seen = np.concatenate(parts, -1).reshape(*x.shape[:2], -1)
    elif cfg.v_concat == 2:
        seen = np.concatenate([y, x], -1)
    v = conv(seen, p["mixer.conv_v"], p["mixer.b_v"], s)
    out = np.zeros_like(v)
    width = cfg.width // cfg.heads
    for h in range(cfg.heads):
        cols = slice(h * width, (h + 1) * width)
        qh, kh = (g.rope(i[..., cols]) if cfg.rope else i[..., cols] for i in (q, k))
        weight = np.exp(qh @ g.transpose(kh) / np.sqrt(width)) * g.visible(cfg)
        out[..., cols] = weight / weight.sum(-1, keepdims=True) @ v[..., cols]
    if cfg.output in (1, 3):
        out = mult(out, p["mixer.g_o"], p["mixer.e_o"], p["mixer.b_o"])
    if cfg.output >= 2:
        out = conv(out, p["mixer.conv_o"], p["mixer.bias_o"], s)
    return out


def gelu_ffn(p, x, cfg):
    return g.gelu(x @ p["ffn.w_in"] + p["ffn.b_in"]) @ p["ffn.w_out"] + p["ffn.b_out"]


def block(mixer, ffn):
    """LayerNorm before each branch, epsilon 1e-6."""

    def run(p, x, cfg):
        h = x + mixer(p, g.layer_norm(x, p["norm1.gain"], p["norm1.bias"], 1e-6), cfg)
        return h + ffn(p, g.layer_norm(h, p["norm2.gain"], p["norm2.bias"], 1e-6), cfg)

    return run


# ---------------------------------------------------------------- cases

FF = {"f": 12, "block": 3, "rank": 4, "tau": 0.5, "quant_prob": 0.3, "multiply_by_controller_output": 0}
QKV = {"modules": 4, "taps": 3, "side": 3, "side_v": 1, "share_qk": 0, "v_concat": 0, "output": 0, "rope": 1}
g.BLOCKS.update(
    scaling_ff=block(g.softmax_attention, sparse_ffn),
    scaling_qkv=block(modules_attention, gelu_ffn),
    scaling=block(modules_attention, sparse_ffn),
    scaling_loss=block(g.softmax_attention, gelu_ffn),
)
g.OPTIONS.update(scaling_ff=FF, scaling_qkv={"f": 16, **QKV}, scaling={**FF, **QKV}, scaling_loss={"f": 16})


def mixer_shapes(cfg):
    d = cfg.width
    if not hasattr(cfg, "modules"):
        return {"mixer.w_" + i: ((d, d), 0, d**-0.5) for i in "qkvo"}
    s, m = cfg.modules, d // cfg.modules
    wide = 2 * m if cfg.v_concat else m
    out = {"mixer.g": ((d, s), 0, 0.6), "mixer.e": ((d, m), 0, 0.6), "mixer.b": ((d,), 0, 0.3)}
    for i, side, rows in (("q", cfg.side, m), ("k", cfg.side, m), ("v", cfg.side_v, wide)):
        if i == "k" and cfg.share_qk:
            continue
        out["mixer.conv_" + i] = ((cfg.taps, side, rows, m), 0, (cfg.taps * side * rows) ** -0.5)
        out["mixer.b_" + i] = ((m,), 0, 0.3)
    if cfg.output in (1, 3):
        out.update({"mixer.g_o": ((d, s), 0, 0.6), "mixer.e_o": ((d, m), 0, 0.6), "mixer.b_o": ((d,), 0, 0.3)})
    if cfg.output >= 2:
        out["mixer.conv_o"] = ((cfg.taps, 3, m, m), 0, (3 * cfg.taps * m) ** -0.5)
        out["mixer.bias_o"] = ((m,), 0, 0.3)
    return out


def shapes(cfg):
    d, f = cfg.width, cfg.f
    out = {f"norm{i}.{j}": ((d,), j == "gain", 0.2) for i in (1, 2) for j in ("gain", "bias")}
    out.update(mixer_shapes(cfg))
    if not hasattr(cfg, "block"):
        out.update({"ffn.w_in": ((d, f), 0, d**-0.5), "ffn.w_out": ((f, d), 0, 0.6 * f**-0.5)})
        return {**out, "ffn.b_in": ((f,), 0, 0.3), "ffn.b_out": ((d,), 0, 0.3)}
    r = cfg.rank
    out.update({"ffn.c1": ((d, r), 0, d**-0.5), "ffn.c2": ((r, f), 0, r**-0.5), "ffn.cb": ((f,), 0, 0.3)})
    return {**out, "ffn.w1": ((f, d), 0, d**-0.5), "ffn.w2": ((f, d), 0, 0.5), "ffn.b2": ((d,), 0, 0.3)}


g.SHAPES.update({i: shapes for i in g.OPTIONS if i.startswith("scaling")})


def config(name, variant, causal, length, lens=None, training=0, coin=0.5, **given):
    """Training draws: noise uniform in (0,1), and the coin."""
    cfg = g.config(variant, causal, length, lens, **given)
    cfg.training, cfg.coin = training, coin
    cfg.scaled = cfg.options.get("multiply_by_controller_output", 0)
    if training:
        cfg.noise = g.uniform(name + "/noise", cfg.batch * length * cfg.f).reshape(cfg.batch, length, cfg.f)
        cfg.draws = {"draw.noise": cfg.noise, "draw.coin": np.array([float(coin)])}
    return cfg


def run(name, cfg, differentiate=g.complex_step, plain=g.run):
    """The draws go into the file, too."""
    return {**plain(name, cfg, differentiate), **getattr(cfg, "draws", {})}


g.run = run


def all_cases():
    out = {}

    def add(variant, causal, length, tag="", lens=None, **given):
        parts = [variant, "causal" if causal else "bi", f"t{length}", tag, "ragged" if lens else ""]
        name = "_".join(i for i in parts if i)
        out[name] = config(name, variant, causal, length, lens, **given)

    for causal in (1, 0):
        add("scaling_ff", causal, 7)
        add("scaling_ff", causal, 7, "soft", training=1, coin=0.31)
        add("scaling_ff", causal, 7, "hard", training=1, coin=0.29)
    add("scaling_ff", 1, 6, "n4_soft", block=4, rank=3, training=1)
    add("scaling_ff", 1, 6, "n4_hard", block=4, rank=3, training=1, coin=0.1)
    add("scaling_ff", 1, 6, "scaled_hard", multiply_by_controller_output=1, training=1, coin=0.1)
    add("scaling_ff", 1, 6, "scaled", multiply_by_controller_output=1)
    for length in (9, 2):
        add("scaling_qkv", 1, length)
    add("scaling_qkv", 1, 6, "share_k2_side1", share_qk=1, taps=2, side=1, side_v=3)
    add("scaling_qkv", 1, 6, "s2_v1_mult", modules=2, v_concat=1, output=1)
    add("scaling_qkv", 1, 6, "v2_conv", v_concat=2, output=2)
    add("scaling_qkv", 1, 6, "multconv", output=3)
    add("scaling", 1, 7)
    add("scaling", 1, 7, "hard", training=1, coin=0)
    add("scaling", 1, 7, "soft", training=1, coin=1)
    add("scaling_loss", 1, 5)
    return out


def vanishing(cfg):
    """A choice without an estimate gives its controller no gradient."""
    return set() if cfg.training or not hasattr(cfg, "block") else {"ffn.c1", "ffn.c2", "ffn.cb"}


def check_worked_examples():
    """The multiplicative layer moves any entry anywhere; a unit of a tie is the first; the unchosen
    units of a hard step have no gradient."""
    x = np.arange(1.0, 7).reshape(1, 1, 6)
    order = [3, 1, 5, 0, 2, 4]
    gate, shared = np.zeros((6, 2)), np.zeros((6, 3))
    for i, to in enumerate(order):
        gate[i, to // 3] = shared[i, to % 3] = 1
    moved = mult(x, gate, shared, 0)[0, 0]
    assert [moved[to] for to in order] == list(range(1, 7))
    cfg = config("hard", "scaling_ff", 1, 5, training=1, coin=0)
    tensors, _ = g.inputs("hard", cfg)
    grads = g.complex_step(lambda t: sparse_ffn(t, t["x"], cfg).sum(), tensors)
    z = (tensors["x"] @ tensors["ffn.c1"] @ tensors["ffn.c2"] + tensors["ffn.cb"]).reshape(2, 5, 4, 3)
    z = z - 0.5 * np.log(-np.log(cfg.noise.reshape(z.shape)))
    chosen = (np.arange(3) == z.argmax(-1)[..., None]).any((0, 1)).ravel()
    assert not grads["ffn.w1"][~chosen].any() and grads["ffn.w1"].any()


if __name__ == "__main__":
    check_worked_examples()
    cases = all_cases()
    name = "scaling_causal_t7_soft"
    print(f"{name}: complex steps against central differences {g.check_gradients(name, cases[name]):.1e}")
    g.write_all(cases, vanishing)
