#!/usr/bin/env python3
"""Golden vectors of Primer (So 2021) and its halves; options and format as in make_golden.py."""
import numpy as np

import make_golden as g

# ---------------------------------------------------------------- formulas


def conv(x, taps, bias=0):
    """y_t = sum_k taps_k x_(t-k) by column, nothing before t = 0. x (B,T,W), taps (K,W)."""
    length = x.shape[1]
    back = np.arange(length)[:, None] - np.arange(length)[None, :]  # t - t'
    y = np.zeros(x.shape, dtype=np.result_type(x, taps)) + bias
    for k, w in enumerate(taps):
        y = y + np.einsum("ts,bsw->btw", (back == k).astype(float), x) * w
    return y


def attention(q, k, v, cfg):
    """softmax(q k' / sqrt d) v of every head, q and k rotated. (B,T,D) each."""
    out = np.zeros_like(v)
    width = q.shape[-1] // cfg.heads
    see = g.visible(cfg)
    for h in range(cfg.heads):
        cols = slice(h * width, (h + 1) * width)
        qh, kh = (g.rope(i[..., cols]) if cfg.rope else i[..., cols] for i in (q, k))
        weight = np.exp(qh @ g.transpose(kh) / np.sqrt(width)) * see
        out[..., cols] = weight / weight.sum(-1, keepdims=True) @ v[..., cols]
    return out


def conv_attention(p, x, cfg):
    """MDHA: dense, then convolution, for q, k and v."""

    def project(i):
        if cfg.bias:
            dense = x @ p["mixer.w_" + i] + p["mixer.b_" + i]
            return conv(dense, p["mixer.conv_" + i], p[f"mixer.conv_{i}_bias"])
        return conv(x @ p["mixer.w_" + i], p["mixer.conv_" + i])

    y = attention(*map(project, "qkv"), cfg) @ p["mixer.w_o"]
    return y + p["mixer.b_o"] if cfg.bias else y


def shared_attention(p, x, cfg):
    """Full Primer: K = conv(x W_qk), Q = K W_s."""
    k = conv(x @ p["mixer.w_qk"], p["mixer.conv_qk"])
    v = conv(x @ p["mixer.w_v"], p["mixer.conv_v"])
    return attention(k @ p["mixer.w_s"], k, v, cfg) @ p["mixer.w_o"]


def plain_attention(p, x, cfg):
    return attention(*(x @ p["mixer.w_" + i] for i in "qkv"), cfg) @ p["mixer.w_o"]


def dense(f):
    return lambda p, x: f(x @ p["ffn.w_in"] + p["ffn.b_in"]) @ p["ffn.w_out"] + p["ffn.b_out"]


def pre_norm(mixer, ffn):
    """Pre-norm block with LayerNorm."""

    def block(p, x, cfg):
        h = x + mixer(p, g.layer_norm(x, p["norm1.gain"], p["norm1.bias"]), cfg)
        return h + ffn(p, g.layer_norm(h, p["norm2.gain"], p["norm2.bias"]))

    return block


def primer_norm(x, gain, bias):
    """Figure 5 as printed: the variance as mean(x (x - mean))."""
    centred = x - x.mean(-1, keepdims=True)
    return gain * centred / np.sqrt((x * centred).mean(-1, keepdims=True) + 1e-6) + bias


def primer(p, x, cfg):
    """Norm before attention, and on the feed-forward branch before the sum."""
    h = x + shared_attention(p, primer_norm(x, p["norm1.gain"], p["norm1.bias"]), cfg)
    return h + primer_norm(dense(g.relu2)(p, h), p["norm2.gain"], p["norm2.bias"])


# ---------------------------------------------------------------- cases

g.BLOCKS.update(
    primer=primer,
    primer_ez=pre_norm(conv_attention, dense(g.relu2)),
    primer_dconv=pre_norm(conv_attention, dense(g.gelu)),
    primer_relu2=pre_norm(plain_attention, dense(g.relu2)),
)
g.OPTIONS.update(
    primer={"f": 24, "taps": 3, "rope": 1},
    primer_ez={"f": 24, "taps": 3, "rope": 1, "bias": 0},
    primer_dconv={"f": 20, "taps": 3, "rope": 1, "bias": 0},
    primer_relu2={"f": 24, "rope": 1},
)


def shapes(cfg):
    d = cfg.width
    out = {f"norm{i}.{j}": ((d,), j == "gain", 0.2) for i in (1, 2) for j in ("gain", "bias")}
    out.update({"ffn.w_in": ((d, cfg.f), 0, d**-0.5), "ffn.w_out": ((cfg.f, d), 0, 0.6 * cfg.f**-0.5)})
    out.update({"ffn.b_in": ((cfg.f,), 0, 0.3), "ffn.b_out": ((d,), 0, 0.3)})
    names, filters = (("qk", "s", "v", "o"), ("qk", "v")) if cfg.variant == "primer" else ("qkvo", "qkv")
    out.update({"mixer.w_" + i: ((d, d), 0, d**-0.5) for i in names})
    if cfg.variant != "primer_relu2":
        out.update({"mixer.conv_" + i: ((cfg.taps, d), 0.3, 0.3) for i in filters})
        if cfg.options.get("bias"):
            out.update({"mixer.b_" + i: ((d,), 0, 0.3) for i in names})
            out.update({f"mixer.conv_{i}_bias": ((d,), 0, 0.3) for i in filters})
    return out


g.SHAPES.update({i: shapes for i in g.OPTIONS if i.startswith("primer")})


def vanishing(cfg):
    """With one key, weights are 1 whatever q and k are."""
    if cfg.len > 1:
        return set()
    mixer = {"primer": {"w_s"}, "primer_relu2": {"w_q", "w_k"}}
    taken = mixer.get(cfg.variant, {"w_q", "w_k", "conv_q", "conv_k"})
    taken |= {"w_qk", "conv_qk"} if cfg.variant == "primer" else set()
    return {"mixer." + i for i in taken}


def all_cases():
    out = {}

    def add(variant, causal, length, tag="", lens=None, **given):
        parts = [variant, "causal" if causal else "bi", f"t{length}", tag, "ragged" if lens else ""]
        out["_".join(i for i in parts if i)] = g.config(variant, causal, length, lens, **given)

    for variant in ("primer", "primer_ez", "primer_dconv", "primer_relu2"):
        for length in (13, 2, 1):
            add(variant, 1, length)
        add(variant, 1, 6, "norope_h1", rope=0, heads=1)
        add(variant, 1, 9, "", (9, 4))
    add("primer_relu2", 0, 11)
    add("primer_relu2", 0, 11, "", (11, 6))
    add("primer", 1, 7, "k5", taps=5)
    add("primer_ez", 1, 7, "k2", taps=2)
    add("primer_dconv", 1, 7, "bias_k4", taps=4, bias=1)
    return out


def check_worked_examples():
    """Initial taps on four tokens, the squared ReLU, the norm's pseudo-variance."""
    taps = np.array([[0.5], [1 / 6], [1 / 6]])
    x, dy = (np.array(i, float).reshape(1, 4, 1) for i in ((1, 2, -1, 4), (1, -2, 0.5, 3)))
    g.close(conv(x, taps).ravel(), [0.5, 7 / 6, 0, 13 / 6])
    grads = g.complex_step(lambda t: (dy * conv(t["x"], t["w"])).sum(), {"x": x, "w": taps})
    g.close(grads["x"].ravel(), [0.25, -5 / 12, 0.75, 1.5])
    g.close(grads["w"].ravel(), [8.5, -4, 6.5])
    g.close(g.relu2(np.array([-1, 0, 0.5, 3.0])), [0, 0, 0.25, 9])
    x = np.array([1, 2, 3.5, -0.5])
    g.close((x * (x - x.mean())).mean(), 2.125)
    g.close(primer_norm(x, 1.3, 0.2), g.layer_norm(x, 1.3, 0.2, 1e-6))


def check_laws():
    """The future stays unseen; copying filters are no filters."""
    for variant in g.SHAPES:
        cfg = g.config(variant, 1, 9)
        t, _ = g.inputs("laws", cfg)
        whole = g.BLOCKS[variant](t, t["x"], cfg)
        for n in range(1, 9):
            g.close(g.BLOCKS[variant](t, t["x"][:, :n], g.config(variant, 1, n)), whole[:, :n])
        if variant in ("primer_ez", "primer_dconv"):
            for i in "qkv":
                t["mixer.conv_" + i] = np.eye(3, 1) * np.ones(8)
            x = t["x"]
            g.close(conv_attention(t, x, cfg), plain_attention(t, x, cfg))
            g.close(plain_attention(t, x, cfg), g.softmax_attention(t, x, cfg))


if __name__ == "__main__":
    check_worked_examples()
    check_laws()
    cases = all_cases()
    name = "primer_causal_t9_ragged"
    print(f"{name}: complex steps against central differences {g.check_gradients(name, cases[name]):.1e}")
    g.write_all(cases, vanishing)
