#!/usr/bin/env python3
"""Golden vectors of GAU-alpha (Su 2022), and of the options of gau and flash_linear: relative
biases, rotated width, norms, biases and residual on and off. Format as in make_golden.py."""
import numpy as np

import make_golden as g

# ---------------------------------------------------------------- formulas

T5_PAST = [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
T5_BOTH = [*range(9), 12, 16, 23, 32, 46, 64, 91]


def turn(x, cfg):
    """Rotary positions of the first `rope_rot` columns (0: all), pairs by halves or neighbours."""
    if not cfg.rope:
        return x
    length, width = x.shape[-2:]
    r = cfg.rope_rot or width
    angle = np.arange(length)[:, None] * 10000.0 ** (-2 * np.arange(r // 2) / r)
    first, second = (slice(0, r // 2), slice(r // 2, r)) if cfg.rope_half else (slice(0, r, 2), slice(1, r, 2))
    out = np.array(x)
    a, b = x[..., first], x[..., second]
    out[..., first] = a * np.cos(angle) - b * np.sin(angle)
    out[..., second] = b * np.cos(angle) + a * np.sin(angle)
    return out


def bucket(back, causal):
    """T5's bucket of a key `back` positions before the query, by the first distance of each."""
    if causal:
        return sum(max(back, 0) >= i for i in T5_PAST) - 1
    return sum(abs(back) >= i for i in T5_BOTH) - 1 + (16 if back < 0 else 0)


def relative(p, cfg, length, n_max, scale):
    """b (length, length)."""
    i, j = np.arange(length)[:, None], np.arange(length)[None, :]
    kind = cfg.rel_bias
    if kind == 1:
        kind = 2 if n_max <= 512 else 3
    if kind == 2:
        return p["mixer.rel_w"][j - i + n_max - 1]
    if kind == 3:
        whole = g.SimpleNamespace(rope=1, rope_rot=0, rope_half=cfg.rope_half)
        a, c = (turn(np.tile(p["mixer.rel_" + n], (length, 1)), whole) for n in "ac")
        return a @ c.T
    if kind == 4:
        table = np.array([[bucket(q - k, cfg.causal) for k in range(length)] for q in range(length)])
        return scale * p["mixer.rel_t5"][table]
    return np.zeros((length, length))


def norm(p, x, cfg):
    gain, eps = p.get("norm1.gain", 1), cfg.norm_eps
    y = g.layer_norm(x, gain, 0, eps) if cfg.norm_kind == 1 else g.rms_norm(x, gain, eps)
    return y + p.get("norm1.bias", 0)


def units(p, x):
    return [g.silu(x @ p["mixer.w_" + i] + p.get("mixer.b_" + i, 0)) for i in "uvz"]


def head(p, z, name, cfg):
    return turn(z * p[f"mixer.{name}_gain"] + p.get(f"mixer.{name}_bias", 0), cfg)


def finish(p, x, u, o, cfg):
    y = (u * o) @ p["mixer.w_o"] + p.get("mixer.b_o", 0)
    return x + y if cfg.residual else y


def gau(p, x, cfg):
    """relu2(qk alpha + b) post; with scaling 3 the bias is divided by n, too."""
    u, v, z = units(p, norm(p, x, cfg))
    q, k = head(p, z, "q", cfg), head(p, z, "k", cfg)
    n = cfg.n_norm
    b = relative(p, cfg, x.shape[1], cfg.rel_max or n, cfg.width**0.5)
    qk = q @ g.transpose(k)
    score = {0: qk + b, 1: qk / n + b, 2: qk / cfg.s**0.5 + b, 3: (qk + b) / n}[cfg.scaling]
    a = g.relu2(score) / (n if cfg.scaling == 2 else 1) * g.visible(cfg)
    return finish(p, x, u, a @ v, cfg)


def flash_linear(p, x, cfg):
    """Bias inside the chunk."""
    u, v, z = units(p, norm(p, x, cfg))
    qq, kq, ql, kl = (head(p, z, i, cfg) for i in ("qq", "kq", "ql", "kl"))
    alpha, post, c = g.flash_constants(cfg, cfg.s)
    size = x.shape[1]
    chunk = np.arange(size) // cfg.c
    b = np.zeros((size, size))
    inside = relative(p, cfg, cfg.c, cfg.c, cfg.s**0.5)
    b = inside[np.arange(size)[:, None] % cfg.c, np.arange(size)[None, :] % cfg.c]
    see = g.visible(cfg)
    local = g.relu2(alpha * (qq @ g.transpose(kq)) + b) * post * (see & (chunk[:, None] == chunk[None, :]))
    far = see & ((chunk[None, :] < chunk[:, None]) | (not cfg.causal))
    return finish(p, x, u, local @ v + c * ((ql @ g.transpose(kl) * far) @ v), cfg)


def gau_alpha(p, x, cfg):
    """Post-norm, softmax with the scale ln max(l, floor) / ln base, l the keys of the row."""
    u, v, z = units(p, x)
    q, k = head(p, z, "q", cfg), head(p, z, "k", cfg)
    see = g.visible(cfg)
    keys = see.sum(-1, keepdims=True)
    scale = np.log(np.maximum(keys, cfg.log_floor)) / np.log(cfg.log_base) if cfg.log_base else 1
    weight = np.exp(scale * (q @ g.transpose(k)) / np.sqrt(cfg.s)) * see
    return norm(p, finish(p, x, u, weight / weight.sum(-1, keepdims=True) @ v, cfg), cfg)


# ---------------------------------------------------------------- cases

TURN = {"rope": 1, "rope_half": 1, "rope_rot": 0}
BLOCK = {"norm_kind": 3, "norm_eps": 1e-5, "norm_bias": 0, "norm_gain": 1, "biases": 1, "residual": 1}
UNIT = {"s": 6, "e": 10, **TURN, **BLOCK}
ALPHA = {**UNIT, "rope_half": 0, "norm_kind": 2, "norm_eps": 1e-7, "norm_gain": 0, "biases": 0}


def shapes(cfg):
    d, e, s = cfg.width, cfg.e, cfg.s
    out = {}
    if cfg.norm_gain:
        out["norm1.gain"] = ((1,) if cfg.norm_kind == 3 else (d,), 1, 0.2)
    if cfg.norm_bias:
        out["norm1.bias"] = ((d,), 0, 0.2)
    for i, rows, cols in ("u", d, e), ("v", d, e), ("z", d, s), ("o", e, d):
        out["mixer.w_" + i] = ((rows, cols), 0, rows**-0.5)
        if cfg.biases:
            out["mixer.b_" + i] = ((cols,), 0, 0.3)
    for i in ("qq", "kq", "ql", "kl") if cfg.variant == "flash_linear" else ("q", "k"):
        out[f"mixer.{i}_gain"] = ((s,), 1.2, 0.3)
        if cfg.biases:
            out[f"mixer.{i}_bias"] = ((s,), 0, 0.4)
    kind = cfg.options.get("rel_bias", 0)
    n_max = cfg.c if cfg.variant == "flash_linear" else cfg.options.get("rel_max") or cfg.n_norm
    if kind == 2 or kind == 1 and n_max <= 512:
        out["mixer.rel_w"] = ((2 * n_max - 1,), 0, 0.5)
    elif kind in (1, 3):
        out.update({"mixer.rel_" + i: ((s,), 0, 0.5) for i in "ac"})
    elif kind == 4:
        out["mixer.rel_t5"] = ((32,), 0, 0.3)
    return out


def use():
    """This script's formulas in place of make_golden's."""
    g.BLOCKS.update(gau=gau, flash_linear=flash_linear, gau_alpha=gau_alpha)
    g.SHAPES.update(gau=shapes, flash_linear=shapes, gau_alpha=shapes)
    g.OPTIONS.update(
        gau={**UNIT, "scaling": 1, "rel_bias": 0, "rel_max": 0},
        flash_linear={**UNIT, "c": 4, "norm": 1, "rel_bias": 0},
        gau_alpha={**ALPHA, "log_base": 512, "log_floor": 16},
    )
    g.well_sized = well_sized


def well_sized(t, cfg):
    """A branch of the size of x, in the rows that count."""
    y = g.BLOCKS[cfg.variant](t, t["x"], cfg) - t["x"]
    return 0.3 < np.abs(y[np.arange(cfg.len) < cfg.lens[:, None]]).mean() < 1.5


def vanishing(cfg):
    """Softmax over one key; a linear part that nobody sees; what a causal pass never looks at is
    single entries, not whole tensors."""
    if cfg.variant == "gau_alpha" and cfg.len == 1:
        return {f"mixer.{i}_gain" for i in "qk"} | {"mixer.w_z"}
    return set()


def all_cases():
    out = {}

    def add(variant, causal, length, tag="", lens=None, **given):
        parts = [variant, "causal" if causal else "bi", f"t{length}", tag, "ragged" if lens else ""]
        out["_".join(i for i in parts if i)] = g.config(variant, causal, length, lens, **given)

    for causal in (1, 0):
        for length in (12, 3, 1):
            add("gau_alpha", causal, length)
        add("gau_alpha", causal, 11, "floor1_base8", log_floor=1, log_base=8)
        add("gau_alpha", causal, 11, "floor4", (11, 6), log_floor=4, log_base=8)
        for kind in (1, 3, 4):
            add("gau", causal, 9, f"rel{kind}", rel_bias=kind, rel_max=11, n_norm=2)
            add("flash_linear", causal, 11, f"rel{kind}", rel_bias=kind)
            add("gau", causal, 9, f"rel{kind}", (9, 5), rel_bias=kind, rel_max=9, n_norm=2)
            add("flash_linear", causal, 10, f"rel{kind}_c3", (10, 5), rel_bias=kind, c=3, norm=2, rope_half=0)
        add("gau", causal, 40, "rel4_far", rel_bias=4, n_norm=3)
        add("gau", causal, 7, "rel1_long", rel_bias=1, n_norm=2, rel_max=513)
        for scaling in (0, 2, 3):
            add("gau", causal, 7, f"a{scaling}_rel2", scaling=scaling, rel_bias=2, n_norm=2, rel_max=7)
    add("gau_alpha", 1, 9, "nolog_biases", log_base=0, biases=1, norm_gain=1, norm_bias=1)
    add("gau_alpha", 0, 9, "half_rot4", rope_half=1, rope_rot=4)
    add("gau", 1, 9, "rot4", rope_rot=4, n_norm=2)
    add("gau", 1, 9, "interleaved_rot2", rope_rot=2, rope_half=0, n_norm=2)
    add("gau", 0, 9, "norope_layernorm", rope=0, norm_kind=1, norm_bias=1, norm_eps=1e-3, n_norm=2)
    add("gau", 1, 9, "nobias_noresidual", biases=0, residual=0, n_norm=2)
    add("gau", 1, 9, "rms_nogain", norm_kind=2, norm_gain=0, n_norm=2)
    add("flash_linear", 1, 11, "interleaved_rot4", rope_rot=4, rope_half=0)
    add("flash_linear", 0, 11, "norope_layernorm_nobias", rope=0, norm_kind=1, norm_bias=1, biases=0)
    return out


def check_worked_examples():
    """softmax_plus of the scores (2, 1, 0, -1) at several lengths, as printed."""
    scores = np.array([2, 1, 0, -1.0])
    for keys, want in (
        (512, (0.643914, 0.236883, 0.087144, 0.032059)),
        (64, (0.522917, 0.268475, 0.137839, 0.070769)),
        (1024, (0.678778, 0.223449, 0.073558, 0.024215)),
        (9, (0.431799, 0.276861, 0.177518, 0.113821)),
    ):
        e = np.exp(np.log(max(keys, 16)) / np.log(512) * scores)
        g.close(e / e.sum(), want, 5.1e-7)
    log = [min(31, d if d < 16 else 16 + int(np.log(d / 16) / np.log(8) * 16 + 1e-9)) for d in range(200)]
    assert log == [bucket(d, 1) for d in range(200)]


def check_laws():
    """Where options are off these are make_golden's blocks; the future stays unseen; biases depend
    on distance alone."""
    plain = {i: g.BLOCKS[i] for i in ("gau", "flash_linear")}
    use()
    for variant in ("gau", "flash_linear", "gau_alpha"):
        for kind in range(5) if variant != "gau_alpha" else [None]:
            given = {} if kind is None else {"rel_bias": kind}
            more = {"rel_max": 9} if variant == "gau" else {}
            cfg = g.config(variant, 1, 9, **given, **more)
            t, _ = g.inputs("laws", cfg)
            whole = g.BLOCKS[variant](t, t["x"], cfg)
            for n in range(1, 9):
                part = g.config(variant, 1, n, **given, **more)
                g.close(g.BLOCKS[variant](t, t["x"][:, :n], part), whole[:, :n])
            if kind == 0:
                g.close(whole, plain[variant](t, t["x"], cfg if variant == "flash_linear" else
                                              g.SimpleNamespace(**vars(cfg), row_norm=0)))
            if kind:
                b = relative(t, cfg, 4, 9 if variant == "gau" else 4, 1.5)
                g.close(b[1:, 1:], b[:-1, :-1])


if __name__ == "__main__":
    check_worked_examples()
    check_laws()
    cases = all_cases()
    for name in "gau_alpha_causal_t11_floor1_base8", "flash_linear_causal_t11_rel3":
        print(f"{name}: complex steps against central differences {g.check_gradients(name, cases[name]):.1e}")
    g.write_all(cases, vanishing)
