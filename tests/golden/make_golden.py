#!/usr/bin/env python3
"""Golden vectors: whole blocks in float64, straight from the papers' formulas.

    make_golden.py            writes NAME.safetensors for every case, beside this file
    make_golden.py --check    computes everything again and compares with the files

Nothing here is fast or clever: attention is a full T x T matrix, also where the method exists to
avoid it, and gradients are complex steps, Im f(x + ih) / h with h = 1e-30 (Squire and Trapp 1998):
no subtraction, so they are exact to rounding, and no backward formula that could be wrong.
Matrices are (in, out), y = x W. README.md beside this file describes the format.
"""
import json
import os
import struct
import sys
import zlib
from types import SimpleNamespace

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
STEP = 1e-30

# ---------------------------------------------------------------- formulas, element and row


def silu(x):
    """x sigmoid(x) (Elfwing 2018)."""
    return x / (1 + np.exp(-x))


def gelu(x):
    """The tanh form (Hendrycks and Gimpel 2016, section 2)."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def relu2(x):
    """max(x, 0)^2 (So 2021). The branch is decided on the real part, for complex steps."""
    return np.where(x.real > 0, x, 0) ** 2


def layer_norm(x, gain, bias, eps=1e-5):
    """Ba 2016, with the biased variance."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * gain + bias


def rms_norm(x, gain, eps):
    """Zhang and Sennrich 2019, eq. 4. With a gain of one number it is the ScaleNorm of FLASH."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * gain


def rope(x):
    """Rotary positions on all columns (Su 2021, section 3.4.2), halves (i, i + d/2) as the pairs.
    x (..., T, d); the angle of pair i at position t is t * 10000^(-2i/d)."""
    length, d = x.shape[-2:]
    theta = 10000.0 ** (-2 * np.arange(d // 2) / d)
    angle = np.arange(length)[:, None] * theta
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def transpose(x):
    return np.swapaxes(x, -1, -2)


def visible(cfg):
    """(B,T,T): may query i of row b see key j?"""
    t = np.arange(cfg.len)
    past = (t[None, :] <= t[:, None]) | (not cfg.causal)
    valid = t[None, :] < cfg.lens[:, None]
    return past[None] & valid[:, None, :]


# ---------------------------------------------------------------- Transformer sublayers


def softmax_attention(p, x, cfg):
    """softmax(q k' / sqrt d) v, heads side by side (Vaswani 2017, eq. 1), rotated q and k."""

    def heads(w):  # (B,T,D) -> (B,H,T,d), head h = columns h*d ..
        return np.swapaxes((x @ w).reshape(cfg.batch, cfg.len, cfg.heads, -1), 1, 2)

    q, k, v = rope(heads(p["mixer.w_q"])), rope(heads(p["mixer.w_k"])), heads(p["mixer.w_v"])
    see = visible(cfg)[:, None]
    score = q @ transpose(k) / np.sqrt(q.shape[-1])
    top = np.where(see, score.real, -np.inf).max(-1, keepdims=True)
    weight = np.where(see, np.exp(np.where(see, score - top, 0)), 0)
    out = weight / weight.sum(-1, keepdims=True) @ v
    return np.swapaxes(out, 1, 2).reshape(x.shape) @ p["mixer.w_o"]


def vanilla(p, x, cfg):
    """Vaswani 2017 in pre-norm order (Xiong 2020), GELU feed-forward."""
    h = x + softmax_attention(p, layer_norm(x, p["norm1.gain"], p["norm1.bias"]), cfg)
    u = layer_norm(h, p["norm2.gain"], p["norm2.bias"])
    return h + gelu(u @ p["ffn.w_in"] + p["ffn.b_in"]) @ p["ffn.w_out"] + p["ffn.b_out"]


def transformer_pp(p, x, cfg):
    """Transformer++ (So 2021): RMSNorm and SwiGLU (Shazeer 2020), here with rotary positions."""
    h = x + softmax_attention(p, rms_norm(x, p["norm1.gain"], 1e-6), cfg)
    u = rms_norm(h, p["norm2.gain"], 1e-6)
    return h + (silu(u @ p["ffn.w_gate"]) * (u @ p["ffn.w_in"])) @ p["ffn.w_out"]


# ---------------------------------------------------------------- GAU and FLASH (Hua 2022)


def gau_constants(cfg, s):
    """(alpha, post) of A = post relu(alpha q k')^2, the four scalings in circulation:
    0 main text, figure 2; 1 the paper's appendix code; 2 J. Su's form, by n_norm or, with row_norm,
    by the number of keys that the row sees; 3 as 1, since there is no bias here."""
    post = 1.0 / cfg.n_norm
    if cfg.row_norm:
        post = 1.0 / visible(cfg).sum(-1, keepdims=True)
    return {0: (1, 1), 1: (1 / cfg.n_norm, 1), 2: (s**-0.5, post), 3: (1 / cfg.n_norm, 1)}[cfg.scaling]


def relu2_attention(q, k, v, see, alpha, post):
    """Figure 2: A V with A = relu^2, masked after the square."""
    return (relu2(alpha * (q @ transpose(k))) * post * see) @ v


def flash_constants(cfg, s):
    """(alpha, post, c): local A = post relu(alpha q k')^2, linear part times c, (B or 1,T,1).
    norm = 0: the paper's equations, nothing; 1: its appendix code, mean over chunks of K'V / C;
    2: the public port, 1/C and a sum over chunks, or 1/n; 3: J. Su, 1/(C s) and means over tokens."""
    n, chunk, norm = cfg.len, cfg.c, cfg.norm
    alpha = 1 / chunk if norm in (1, 2) else 1
    post = 1 / (chunk * s) if norm == 3 else 1
    if cfg.causal:
        g = np.maximum(np.arange(n) // chunk, 1)[None, :, None]  # earlier chunks; 0: the sum is empty
        c = {0: 1, 1: 1 / (chunk * g), 2: 1 / chunk, 3: 1 / (g * chunk)}[norm]
    else:
        g = np.ceil(cfg.lens / chunk)[:, None, None]  # chunks with a valid token
        c = {0: 1, 1: 1 / (chunk * g), 2: 1 / n, 3: 1 / n}[norm]
    return alpha, post, c


def mixed_chunk_attention(qq, kq, ql, kl, v, cfg):
    """Section 3.2: relu^2 attention inside the chunk, plus linear attention, without feature map or
    denominator, over the earlier chunks (causal) or over everything, own chunk included."""
    alpha, post, c = flash_constants(cfg, qq.shape[-1])
    g = np.arange(cfg.len) // cfg.c
    see = visible(cfg)
    local = see & (g[:, None] == g[None, :])
    far = see & ((g[None, :] < g[:, None]) | (not cfg.causal))
    return relu2_attention(qq, kq, v, local, alpha, post) + c * ((ql @ transpose(kl) * far) @ v)


def gated_projections(p, x):
    """U, V, Z, all three through SiLU."""
    xn = rms_norm(x, p["norm1.gain"], 1e-5)
    return [silu(xn @ p["mixer.w_" + i] + p["mixer.b_" + i]) for i in "uvz"]


def head(p, z, name):
    """Offset-scale, then rotation."""
    return rope(z * p[f"mixer.{name}_gain"] + p[f"mixer.{name}_bias"])


def gau(p, x, cfg):
    """Gated attention unit: x + (U o A V) W_o + b_o (figure 2)."""
    u, v, z = gated_projections(p, x)
    alpha, post = gau_constants(cfg, z.shape[-1])
    o = relu2_attention(head(p, z, "q"), head(p, z, "k"), v, visible(cfg), alpha, post)
    return x + (u * o) @ p["mixer.w_o"] + p["mixer.b_o"]


def flash_linear(p, x, cfg):
    """The same unit around mixed chunk attention: four heads from one Z."""
    u, v, z = gated_projections(p, x)
    o = mixed_chunk_attention(*[head(p, z, i) for i in ("qq", "kq", "ql", "kl")], v, cfg)
    return x + (u * o) @ p["mixer.w_o"] + p["mixer.b_o"]


# ---------------------------------------------------------------- parameters and inputs


def shapes(cfg):
    """name -> (shape, mean, deviation)."""
    d = cfg.width
    if cfg.variant in SHAPES:
        return SHAPES[cfg.variant](cfg)

    def matrix(rows, cols):
        return (rows, cols), 0, rows**-0.5

    if cfg.variant in ("gau", "flash_linear"):
        out = {"norm1.gain": ((1,), 1, 0.2)}
        for i, n in ("u", cfg.e), ("v", cfg.e), ("z", cfg.s):
            out["mixer.w_" + i] = matrix(d, n)
            out["mixer.b_" + i] = ((n,), 0, 0.3)
        for i in ("q", "k") if cfg.variant == "gau" else ("qq", "kq", "ql", "kl"):
            size = 0.5 if 0 in (cfg.options.get("scaling"), cfg.options.get("norm")) else 1
            out[f"mixer.{i}_gain"] = ((cfg.s,), size, 0.3)
            out[f"mixer.{i}_bias"] = ((cfg.s,), 0, 0.4)
        return {**out, "mixer.w_o": matrix(cfg.e, d), "mixer.b_o": ((d,), 0, 0.3)}

    out = {"mixer.w_" + i: matrix(d, d) for i in "qkvo"}
    for i in ("norm1", "norm2"):
        out[i + ".gain"] = ((d,), 1, 0.2)
        if cfg.variant == "vanilla":
            out[i + ".bias"] = ((d,), 0, 0.2)
    out.update({"ffn.w_in": matrix(d, cfg.f), "ffn.w_out": matrix(cfg.f, d)})
    if cfg.variant == "vanilla":
        out.update({"ffn.b_in": ((cfg.f,), 0, 0.3), "ffn.b_out": ((d,), 0, 0.3)})
    else:
        out["ffn.w_gate"] = matrix(d, cfg.f)
    return out


def uniform(key, count):
    """Counter-based numbers in [0, 1): splitmix64 (Steele 2014) of crc32(key) * 2^32 + i."""
    z = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(key.encode()) << 32)
    z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def draw(key, shape, mean, deviation):
    """About normal: twelve uniforms less six, the same bits on every machine. Rounded to 8 bits of
    mantissa, so that float64, float32 and bfloat16 programs start from equal numbers."""
    count = int(np.prod(shape))
    x = mean + deviation * (uniform(key, 12 * count).reshape(12, count).sum(0) - 6)
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.round(fraction * 256) / 256, exponent).reshape(shape)


BLOCKS = {"vanilla": vanilla, "transformer_pp": transformer_pp, "gau": gau, "flash_linear": flash_linear}
SHAPES = {}  # of variants that other scripts bring
OPTIONS = {
    "vanilla": {"f": 32},
    "transformer_pp": {"f": 20},
    "gau": {"s": 6, "e": 10, "scaling": 1, "row_norm": 0},
    "flash_linear": {"s": 6, "e": 10, "c": 4, "norm": 1},
}


def config(variant, causal, length, lens=None, **given):
    """One case. lens: valid lengths of the rows, None if all are full."""
    size = {"width": 8, "heads": 1 if variant in ("gau", "flash_linear") else 2, "n_norm": 4}
    options = {i: given.get(i, default) for i, default in OPTIONS[variant].items()}
    size.update({i: given[i] for i in given if i in size})
    assert set(given) <= set(size) | set(options), given
    cfg = SimpleNamespace(variant=variant, causal=causal, len=length, ragged=lens is not None, **size, **options)
    cfg.options = options
    cfg.lens = np.array(lens if cfg.ragged else [length, length], dtype=np.int32)
    cfg.batch = len(cfg.lens)
    return cfg


def well_sized(t, cfg):
    """A draw worth testing with: the mixed part of the output neither tiny nor huge, and scores on
    both sides of the relu. For FLASH the same of its local and its linear part."""
    if cfg.variant not in ("gau", "flash_linear"):
        return True
    y = BLOCKS[cfg.variant](t, t["x"], cfg)

    def share(*names):  # mean change of y when these tensors are zero
        without = {**t, **{i: 0 * t[i] for i in names}}
        return np.abs(BLOCKS[cfg.variant](without, t["x"], cfg) - y).mean()

    query, key = ("q", "k") if cfg.variant == "gau" else ("qq", "kq")
    z = gated_projections(t, t["x"])[2]
    active = ((head(t, z, query) @ transpose(head(t, z, key)))[visible(cfg)] > 0).mean()
    parts = [share("mixer.w_o")]
    if cfg.variant == "flash_linear":
        parts += [share("mixer.qq_gain", "mixer.qq_bias")]
        if cfg.len > cfg.c or not cfg.causal:
            parts += [share("mixer.ql_gain", "mixer.ql_bias")]
    balanced = 0.25 < active < 0.85 or cfg.len == 1 and active > 0
    return balanced and 0.1 < min(parts) and max(parts) < 1 and np.abs(y).max() < 10


def inputs(name, cfg):
    """x, every parameter, and the output gradient dy, zero in padded rows: the first good draw."""
    size = (cfg.batch, cfg.len, cfg.width)
    for attempt in range(1000):
        key = f"{name}/{attempt}/"
        tensors = {i: draw(key + i, *spec) for i, spec in {**shapes(cfg), "x": (size, 0, 1)}.items()}
        if well_sized(tensors, cfg):
            break
    else:
        raise RuntimeError(f"{name}: no draw is well sized")
    dy = draw(name + "/dy", size, 0, 1)
    dy[np.arange(cfg.len) >= cfg.lens[:, None]] = 0
    return tensors, dy


def complex_step(f, tensors):
    """Gradients of the real function f(tensors) by every entry of every tensor."""
    z = {i: t.astype(complex) for i, t in tensors.items()}
    grads = {}
    for name, t in z.items():
        g = np.empty(t.size)
        flat = t.reshape(-1)  # a view
        for i in range(t.size):
            keep = flat[i]
            flat[i] = keep + 1j * STEP
            g[i] = f(z).imag / STEP
            flat[i] = keep
        grads[name] = g.reshape(t.shape)
    return grads


def central_difference(f, tensors, h=1e-5):
    """The same by (f(x + h) - f(x - h)) / 2h: a check of the complex steps, good to about 1e-9."""
    z = {i: t.copy() for i, t in tensors.items()}
    grads = {}
    for name, t in z.items():
        g, flat = np.empty(t.size), t.reshape(-1)
        for i in range(t.size):
            keep = flat[i]
            flat[i] = keep + h
            up = f(z)
            flat[i] = keep - h
            g[i] = (up - f(z)) / (2 * h)
            flat[i] = keep
        grads[name] = g.reshape(t.shape)
    return grads


def run(name, cfg, differentiate=complex_step):
    """Everything that goes into the file of this case."""
    tensors, dy = inputs(name, cfg)
    block = BLOCKS[cfg.variant]
    y = block(tensors, tensors["x"], cfg)
    y[np.arange(cfg.len) >= cfg.lens[:, None]] = 0  # unspecified
    grads = differentiate(lambda t: (block(t, t["x"], cfg) * dy).sum(), tensors)
    out = {**tensors, "y": y, "dy": dy, **{"grad." + i: g for i, g in grads.items()}}
    if cfg.ragged:
        out["lens"] = cfg.lens
    return out


# ---------------------------------------------------------------- files


def metadata(cfg):
    out = {i: str(int(getattr(cfg, i))) for i in ("causal", "batch", "len", "width", "heads", "n_norm")}
    options = " ".join(f"{i}={value}" for i, value in cfg.options.items())
    return {"variant": cfg.variant, **out, "options": options}


def save(path, tensors, meta):
    """safetensors: length of the header (u64), header (JSON, padded to 8 bytes), data."""
    header, at, blobs = {"__metadata__": meta}, 0, []
    for name in sorted(tensors, key=lambda i: (tensors[i].dtype != np.float64, i)):
        t = np.ascontiguousarray(tensors[name])
        kind = {"float64": "F64", "int32": "I32"}[t.dtype.name]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        blobs.append(t.astype(t.dtype.newbyteorder("<")).tobytes())
        at += t.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path):
    with open(path, "rb") as file:
        raw = file.read()
    start = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:start])
    meta = header.pop("__metadata__")
    tensors = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        kind = {"F64": "<f8", "I32": "<i4"}[t["dtype"]]
        tensors[name] = np.frombuffer(raw[start + begin : start + end], kind).reshape(t["shape"])
    return tensors, meta


# ---------------------------------------------------------------- cases


def all_cases():
    """name -> config. Chunks have 4 tokens: T = 12 is whole chunks, 13 and 11 are not, 3 is less."""
    out = {}

    def add(variant, causal, length, tag="", lens=None, **given):
        parts = [variant, "causal" if causal else "bi", f"t{length}", tag, "ragged" if lens else ""]
        out["_".join(i for i in parts if i)] = config(variant, causal, length, lens, **given)

    for variant in ("vanilla", "transformer_pp"):
        for causal, length in (1, 12), (0, 12), (1, 13), (1, 3), (1, 1), (0, 1):
            add(variant, causal, length)
        add(variant, 0, 11, lens=(11, 6))
    add("vanilla", 1, 5, "h3", width=12, heads=3, f=48)
    add("transformer_pp", 0, 7, "h1", heads=1, f=12)

    for causal in (1, 0):
        for scaling in range(4):
            add("gau", causal, 11, f"a{scaling}", scaling=scaling, n_norm=2 if scaling == 0 else 4)
        add("gau", causal, 11, "a2_row", scaling=2, row_norm=1)
        add("gau", causal, 12)
        add("gau", causal, 1)
        for norm in range(4):
            add("flash_linear", causal, 13, f"n{norm}", norm=norm)
        for length in (12, 3, 1):
            add("flash_linear", causal, length)
    add("gau", 1, 3, "s2_e9", s=2, e=9)
    add("gau", 0, 11, "a1", lens=(9, 4))
    add("gau", 0, 11, "a2_row", lens=(11, 6), scaling=2, row_norm=1)
    add("flash_linear", 1, 10, "c3_s4_e9", c=3, s=4, e=9)
    for norm in range(4):
        add("flash_linear", 0, 13, f"n{norm}", lens=(13, 6), norm=norm)
    add("flash_linear", 0, 11, "n1", lens=(8, 1))
    return out


# ---------------------------------------------------------------- checks of this script itself


def close(a, b, tolerance=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and np.all(np.abs(a - b) <= tolerance * (1 + np.abs(b))), (a, b)


def example(a, b):
    """Entry (i,j) = (((a (2i + j) + b) mod 11) - 5) / 8, five tokens of width two."""
    return ((a * np.arange(10) + b) % 11 - 5).reshape(1, 5, 2) / 8


def rows(text):
    return np.array(text.split(), float).reshape(1, -1, 2)


def check_worked_examples():
    """s = E = C = 2, n = 5, no rotation: numbers to six digits from plain loops over tokens, written
    apart from this script."""
    near = 5.1e-7  # half a unit of the sixth digit
    qq, kq, ql, kl = example(3, 1), example(5, 2), example(7, 3), example(2, 4)
    v, u, weight = example(4, 6), example(6, 7), example(9, 5)
    close(qq, rows("-.5 -.125 .25 .625 -.375 0 .375 -.625 -.25 .125"))
    close(v, rows(".125 .625 -.25 .25 -.625 -.125 .375 -.5 0 .5"))

    cfg = SimpleNamespace(causal=1, len=5, lens=np.array([5]), c=2, norm=1)
    o = mixed_chunk_attention(qq, kq, ql, kl, v, cfg)
    want = rows(".000763 .003815 .000122 .000610 -.035927 .002190 .010132 .027832 -.023438 -.024414")
    close(o, want, near)
    close(u * o, rows(".000191 -.001431 .000046 -.000153 -.017963 -.000274 .006332 0 .014648 -.003052"), near)
    cfg.norm, want[0, 4] = 2, (-0.046875, -0.048828)
    close(mixed_chunk_attention(qq, kq, ql, kl, v, cfg), want, near)

    see = visible(cfg)
    a = relu2_attention(qq, kq, np.eye(5), see, 1 / 5, 1)[0]
    close(a[[0, 2, 2, 2, 3], [0, 0, 1, 2, 3]], (0.000977, 0.000791, 0.001406, 0.002197, 0.003906), near)
    want = rows(".000031 -.000229 .000007 -.000024 -.000813 -.000071 .000916 0 .000456 .000058")
    close(u * relu2_attention(qq, kq, v, see, 1 / 5, 1), want, near)
    want[0, :2] = (-0.000717, -0.000252), (0.000042, 0.000006)
    close(u * relu2_attention(qq, kq, v, see | True, 1 / 5, 1), want, near)

    def loss(t):
        return (weight * u * relu2_attention(t["q"], t["k"], t["v"], see, 1 / 5, 1)).sum()

    grads = complex_step(loss, {"q": qq, "k": kq, "v": v})
    want = rows("-.000275 .000183 .000227 -.000151 .001674 -.000057 -.000458 .000092 .0021 .000104")
    close(grads["q"], want, near)
    close(grads["v"], rows(".000363 .000094 .000573 .000027 .000793 .000027 -.000305 0 0 0"), near)


def check_laws():
    """Rotated scores depend on distance alone; the future stays unseen; padding is the same as
    absence; FLASH of one chunk is GAU."""
    q, k = (rope(np.tile(draw(i, (1, 6), 0, 1), (9, 1))) for i in "qk")
    close((q @ k.T)[1:, 1:], (q @ k.T)[:-1, :-1])

    def block(t, variant, causal, n, lens=None, **options):  # of the first n tokens
        return BLOCKS[variant](t, t["x"][:, :n], config(variant, causal, n, lens, **options))

    for variant in BLOCKS:
        t, _ = inputs("laws", config(variant, 1, 11))
        whole = block(t, variant, 1, 11)
        for n in range(1, 11):
            close(block(t, variant, 1, n), whole[:, :n])
        scalings = [{"scaling": i, "row_norm": i == 2} for i in range(4)]
        for given in scalings if variant == "gau" else [{}]:
            padded = block(t, variant, 0, 11, (7, 7), **given)
            close(padded[:, :7], block(t, variant, 0, 7, **given))

    t, _ = inputs("laws", config("flash_linear", 0, 13))
    t.update({f"mixer.{i}_{j}": t[f"mixer.{i}q_{j}"] for i in "qk" for j in ("gain", "bias")})
    close(block(t, "flash_linear", 1, 4, c=4), block(t, "gau", 1, 4, n_norm=4))
    for causal, n in (1, 8), (0, 12):  # where the appendix and the port agree, and where not
        close(block(t, "flash_linear", causal, n, norm=1), block(t, "flash_linear", causal, n, norm=2))
    differ = block(t, "flash_linear", 0, 13, norm=1) - block(t, "flash_linear", 0, 13, norm=2)
    assert np.abs(differ).max() > 1e-3
    t.update({"mixer.ql_gain": np.zeros(6), "mixer.ql_bias": np.zeros(6)})  # local part alone
    close(block(t, "flash_linear", 0, 4, c=4), block(t, "gau", 0, 4, n_norm=4))


def check_gradients(name, cfg):
    exact, rough = run(name, cfg), run(name, cfg, central_difference)
    size = max(1, *(np.abs(exact[i]).max() for i in exact if i.startswith("grad.")))
    worst = max(np.abs(exact[i] - rough[i]).max() for i in exact if i.startswith("grad.")) / size
    assert worst < 1e-8, (name, worst)
    return worst


def check_case(name, cfg, tensors, vanishing=None):
    """Finite, of moderate size, and no gradient that vanishes unless the formula says so."""
    assert all(np.isfinite(t).all() for t in tensors.values()), name
    branch = np.abs(tensors["y"] - tensors["x"])[tensors["dy"] != 0]
    assert 0.2 < branch.mean() < 2, (name, branch.mean())
    padded = np.arange(cfg.len) >= cfg.lens[:, None]
    assert not tensors["grad.x"][padded].any(), name
    zero = {i[5:] for i, t in tensors.items() if i.startswith("grad.") and not t.any()}
    may = set()
    if cfg.variant in ("vanilla", "transformer_pp") and cfg.len == 1:  # softmax over one key
        may = {"mixer.w_q", "mixer.w_k"}
    if cfg.variant == "flash_linear" and cfg.causal and cfg.len <= cfg.c:  # no earlier chunk
        may = {f"mixer.{i}l_{j}" for i in "qk" for j in ("gain", "bias")}
    if vanishing is not None:
        may = vanishing(cfg)
    assert zero == may, (name, zero)


def write_all(cases, vanishing=None):
    """One file a case, or with --check a comparison with it. vanishing(cfg): the parameters whose
    gradients are zero."""
    size, worst = 0, 0.0
    for name, cfg in cases.items():
        tensors = run(name, cfg)
        check_case(name, cfg, tensors, vanishing)
        path = os.path.join(HERE, name + ".safetensors")
        if "--check" not in sys.argv:
            save(path, tensors, metadata(cfg))
        stored, meta = load(path)
        assert meta == metadata(cfg) and set(stored) == set(tensors), name
        for i in stored:
            close(stored[i], tensors[i])
            worst = max(worst, np.abs(stored[i] - tensors[i]).max())
        size += os.path.getsize(path)
    print(f"{len(cases)} files, {size} bytes, largest difference from the files {worst:.1e}")


def main():
    check_worked_examples()
    check_laws()
    cases = all_cases()
    for name in "vanilla_bi_t11_ragged", "flash_linear_causal_t13_n1":
        print(f"{name}: complex steps against central differences {check_gradients(name, cases[name]):.1e}")
    write_all(cases)


if __name__ == "__main__":
    main()
