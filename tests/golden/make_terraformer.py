#!/usr/bin/env python3
"""Golden vectors of Terraformer and of the recurrent unit beside a sparse feed-forward layer
(Jaszczur 2021, section 4; Lei 2018). Format as in make_golden.py.

Two streams are followed as they are written: nothing is computed back. All choices are given by
the file: rotations of the hash, and in training the noise and the coin of the feed-forward layer."""
import numpy as np

import make_golden as g
import make_lsh as lsh
import make_scaling as scaling

# ---------------------------------------------------------------- formulas


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recurrent_layer(p, i, h):
    """c_t = sum over s <= t of (1 - f_s) y_s times all f between s and t; out r c + (1 - r) sqrt(3) h."""
    r, f, y = np.split(h @ p[f"ffn.sru{i}_w"] + p[f"ffn.sru{i}_b"], 3, -1)
    r, f = sigmoid(r), sigmoid(f)
    c = np.zeros_like(y)
    for t in range(h.shape[1]):
        for s in range(t + 1):
            c[:, t] += (1 - f[:, s]) * y[:, s] * f[:, s + 1 : t + 1].prod(1)
    return r * c + (1 - r) * np.sqrt(3) * h


def recurrent(p, x, cfg):
    h = x @ p["ffn.sru_in"] + p["ffn.sru_in_b"]
    for i in range(1, cfg.sru + 1):
        h = recurrent_layer(p, i, h)
    return h @ p["ffn.sru_out"] + p["ffn.sru_out_b"]


def feed_forward(p, x, cfg):
    if not cfg.training or cfg.coin < cfg.quant_prob:
        z = (x @ p["ffn.c1"] @ p["ffn.c2"] + p["ffn.cb"]).real
        noise = -cfg.tau * np.log(-np.log(cfg.noise)) if cfg.training else 0
        lsh.note(cfg, (z + noise).reshape(*x.shape[:2], -1, cfg.block))
    return scaling.sparse_ffn(p, x, cfg) + recurrent(p, x, cfg)


def mixer(p, x, cfg):
    y = scaling.mult(x, p["mixer.g"], p["mixer.e"], p["mixer.b"])
    names = "qv" if cfg.share_qk else "qkv"
    q, *k, v = (scaling.conv(y, p["mixer.conv_" + i], p["mixer.b_" + i], cfg.modules) for i in names)
    return lsh.attend((q + k[0]) / 2 if k else q, v, cfg)


# ---------------------------------------------------------------- cases

FF = {**scaling.FF, "sru": 1, "sru_width": 3}
g.BLOCKS["scaling_ff"] = lsh.stack((g.softmax_attention, feed_forward), 1e-6)
g.BLOCKS["terraformer"] = lsh.stack((mixer, feed_forward), 1e-6)
g.OPTIONS["scaling_ff"] = FF
g.OPTIONS["terraformer"] = {**FF, **lsh.LSH, "share_qk": 0, "modules": 4, "taps": 3, "side": 3, "side_v": 1}


def shapes(cfg):
    d, u = cfg.width, cfg.sru_width
    out = scaling.shapes(cfg)
    out.update({"ffn.sru_in": ((d, u), 0, d**-0.5), "ffn.sru_in_b": ((u,), 0, 0.3)})
    for i in range(1, cfg.sru + 1):
        out.update({f"ffn.sru{i}_w": ((u, 3 * u), 0, u**-0.5), f"ffn.sru{i}_b": ((3 * u,), 0, 0.3)})
    return {**out, "ffn.sru_out": ((u, d), 0, u**-0.5), "ffn.sru_out_b": ((d,), 0, 0.3)}


g.SHAPES.update(scaling_ff=lsh.per_block(shapes), terraformer=lsh.per_block(shapes))


def config(name, variant, causal, length, training=0, coin=0.5, blocks=1, decodes=False, **given):
    """What scaling.config and lsh.config add, both."""
    cfg = scaling.config(name, variant, causal, length, None, training, coin, **given)
    draws = getattr(cfg, "draws", {})
    if variant == "terraformer":
        like = lsh.config(name, variant, causal, length, None, **given)
        cfg.rotation, cfg.v_concat, cfg.output = like.rotation, 0, 0
        draws = {**draws, **like.draws}
    cfg.blocks, cfg.decodes, cfg.with_decode, cfg.margin = blocks, False, decodes, np.inf
    cfg.draws, cfg.reversible = draws, variant == "terraformer"
    return cfg


def all_cases():
    out = {}

    def add(variant, length, tag="", **given):
        name = "_".join(i for i in (variant, "causal", f"t{length}", tag) if i)
        out[name] = config(name, variant, 1, length, **given)

    add("scaling_ff", 7, "sru")
    add("scaling_ff", 1, "sru")
    add("scaling_ff", 6, "sru2_hard", sru=2, training=1, coin=0.1)
    add("scaling_ff", 6, "sru_soft", training=1)
    add("terraformer", 9, decodes=True)
    add("terraformer", 1, decodes=True)
    add("terraformer", 7, "hard", training=1, coin=0.1)
    add("terraformer", 7, "soft", training=1, coin=0.9)
    add("terraformer", 7, "share", share_qk=1, modules=2, taps=2, side=1, side_v=3, decodes=True)
    add("terraformer", 8, "c2_near", chunk_len=2, before=0, sru=2, decodes=True)
    add("terraformer", 6, "two_blocks", blocks=2, decodes=True)
    add("terraformer", 6, "two_blocks_hard", blocks=2, training=1, coin=0.1)
    return out


def vanishing(cfg):
    """A choice without an estimate gives its controller no gradient; softmax over one key."""
    none = set() if cfg.training else {"ffn.c1", "ffn.c2", "ffn.cb"}
    if cfg.len == 1:
        alone = {"mixer.w_q", "mixer.w_k"}
        if cfg.variant == "terraformer":
            alone = {f"mixer.{i}_{j}" for i in ("conv", "b") for j in "qk"}
        none |= alone
    return none if cfg.blocks == 1 else {f"block{i}.{name}" for i in range(cfg.blocks) for name in none}


def check_by_hand():
    """One column, gates 1/2 everywhere: c runs to the mean of what it had and y."""
    p = {"ffn.sru1_w": np.zeros((1, 3)), "ffn.sru1_b": np.array([0, 0, 8.0])}
    c = 8 * np.array([0.5, 0.75, 0.875])
    h = np.array([1.0, -2, 3])
    g.close(recurrent_layer(p, 1, h.reshape(1, 3, 1)).ravel(), c / 2 + np.sqrt(3) * h / 2)


if __name__ == "__main__":
    check_by_hand()
    lsh.use()
    cases = all_cases()
    name = "terraformer_causal_t7_soft"
    print(f"{name}: complex steps against central differences {g.check_gradients(name, cases[name]):.1e}")
    g.write_all(cases, vanishing)
