#!/usr/bin/env python3
"""Golden vectors of LSH attention (Kitaev 2020, in the form of Jaszczur 2021), the whole pass and
decode. Format as in make_golden.py; rotations of the hash are given (draw.rotation).

The rounds stay apart until the end, as published: each has outputs and log-sum-exps of its own,
and the softmax of these weighs those. Buckets are decided on real parts and have no derivative."""
from math import ceil, gcd, log2, sqrt
from types import SimpleNamespace

import numpy as np

import make_gau
import make_golden as g

SELF = 1e5  # taken from the score of a position with itself

# ---------------------------------------------------------------- formulas


def is_exact(cfg):
    """Short contexts are one chunk, in one round (MixedLSH)."""
    return cfg.len <= cfg.std_length


def factors(cfg):
    """The sizes of the hashes that make a bucket number: more than 128 buckets are two hashes."""
    if is_exact(cfg):
        return []
    n = cfg.n_buckets or 2 * max(1, cfg.len // cfg.chunk_len)
    if n <= 128:
        return [n]
    low = 2 ** ceil(log2(sqrt(n)))
    return [low, 2 * (n // (2 * low))]


def hashes(x, cfg):
    """[x R ; -x R] of each factor, x (B,T,H,e) before the rotary positions: (B,H,rounds,T,n)."""
    rounds = 1 if is_exact(cfg) else cfg.n_hashes
    rot = cfg.rotation.reshape(cfg.heads, rounds, x.shape[-1], -1)
    y = np.einsum("bthe,hrec->bhrtc", x.real, rot)
    ends = np.cumsum([0] + [n // 2 for n in factors(cfg)])
    parts = [y[..., a:b] for a, b in zip(ends, ends[1:])]
    return [np.concatenate([part, -part], -1) for part in parts]


def note(cfg, scores):
    """By how much the largest lead, at least."""
    best = np.sort(scores, -1)
    cfg.margin = min(cfg.margin, (best[..., -1] - best[..., -2]).min())


def buckets(x, cfg):
    """(B,H,rounds,T), the first factor counting fastest."""
    if is_exact(cfg):
        return np.zeros((x.shape[0], cfg.heads, 1, x.shape[1]), int)
    number, weight = 0, 1
    for scores, n in zip(hashes(x, cfg), factors(cfg)):
        note(cfg, scores)
        number = number + weight * scores.argmax(-1)
        weight *= n
    return number


def unit_keys(q):
    """q / (rms sqrt e): of length one, but for the 1e-6."""
    return q / (np.sqrt((q**2).mean(-1, keepdims=True) + 1e-6) * sqrt(q.shape[-1]))


def chunks(bucket, valid, cfg):
    """Sorted positions in chunks: (queries, keys) of each, and the round of each query.
    Positions from `valid` on are padding: the last bucket of their round."""
    length = bucket.shape[-1]
    rounds, size = (1, length) if is_exact(cfg) else (cfg.n_hashes, cfg.chunk_len)
    before, after = (0, 0) if is_exact(cfg) else (cfg.before, cfg.after if cfg.after >= 0 else 1 - cfg.causal)
    step = size // gcd(rounds, size)
    padded = ceil(length / step) * step  # so that rounds * padded is whole chunks
    number = np.full((rounds, padded), bucket.max() + 1)
    number[:, :valid] = bucket[:, :valid]
    r, t = np.divmod(np.arange(rounds * padded), padded)
    order = np.lexsort((t, number.ravel(), r))
    own = t[order].reshape(-1, size)
    near = np.concatenate([np.roll(own, i, 0) for i in range(before, -after - 1, -1)], 1)
    return own, near, r[order].reshape(-1, size), padded


def whole_pass(q, v, bucket, valid, cfg):
    """One head of one sequence, q and v (T,e)."""
    own, near, which, padded = chunks(bucket, valid, cfg)
    pad = ((0, padded - len(q)), (0, 0))
    q, v = np.pad(q, pad), np.pad(v, pad)
    score = q[own] @ g.transpose(unit_keys(q)[near])
    score = score - SELF * (own[:, :, None] == near[:, None, :])
    see = (near < valid)[:, None, :] & ((near[:, None, :] <= own[:, :, None]) | (not cfg.causal))
    top = np.where(see, score.real, -1e300).max(-1, keepdims=True)
    weight = np.where(see, np.exp(np.where(see, score - top, 0)), 0)
    total = weight.sum(-1, keepdims=True) + (~see.any(-1, keepdims=True))  # nobody: padding
    out = np.zeros((which.max() + 1,) + v.shape, v.dtype)
    lse = np.zeros((which.max() + 1, padded, 1), v.dtype)
    out[which, own] = weight @ v[near] / total
    lse[which, own] = top + np.log(total)
    share = np.exp(lse - lse.real.max(0))
    return ((share * out).sum(0) / share.sum(0))[: bucket.shape[-1]]


def decode(q, v, bucket, valid, cfg):
    """Position by position: those that share a bucket with it in some round, the newest first, then
    the newest others, as many as all rounds would show."""
    window = len(q) if is_exact(cfg) else cfg.n_hashes * cfg.chunk_len * (1 + cfg.before)
    k, out = unit_keys(q), []
    for p in range(len(q)):
        past = list(range(p, -1, -1))
        same = [j for j in past if (bucket[:, j] == bucket[:, p]).any()]
        seen = (same + [j for j in past if j not in same])[:window]
        score = k[seen] @ q[p] - SELF * (np.array(seen) == p)
        weight = np.exp(score - score.max())
        out.append(weight / weight.sum() @ v[seen])
    return np.array(out)


def attend(shared, v, cfg):
    """All heads; shared vector and values (B,T,D)."""
    split = (*v.shape[:2], cfg.heads, -1)
    shared, v = shared.reshape(split), v.reshape(split)
    number = buckets(shared, cfg)
    turn = SimpleNamespace(rope=cfg.rope, rope_rot=0, rope_half=cfg.rope == 1)
    q = np.swapaxes(make_gau.turn(np.swapaxes(shared, 1, 2), turn), 1, 2)
    run = decode if cfg.decodes else whole_pass
    out = np.zeros_like(v)
    for b in range(v.shape[0]):
        for h in range(cfg.heads):
            out[b, :, h] = run(q[b, :, h], v[b, :, h], number[b, h], cfg.lens[b], cfg)
    return out.reshape(*v.shape[:2], -1)


def shared_vector(p, x, cfg):
    return x @ p["mixer.w_qk"] if cfg.share_qk else (x @ p["mixer.w_q"] + x @ p["mixer.w_k"]) / 2


def mixer(p, x, cfg):
    return attend(shared_vector(p, x, cfg), x @ p["mixer.w_v"], cfg) @ p["mixer.w_o"]


def feed_forward(p, x, cfg):
    return g.gelu(x @ p["ffn.w_in"] + p["ffn.b_in"]) @ p["ffn.w_out"] + p["ffn.b_out"]


def stack(branches, eps):
    """cfg.blocks blocks of two branches, each behind its norm: with `reversible` of two streams, of
    which the second is read and the first added to, and which then change places."""

    def run(p, x, cfg):
        a = c = x
        for i in range(cfg.blocks):
            prefix = f"block{i}." if cfg.blocks > 1 else ""
            w = {name[len(prefix) :]: t for name, t in p.items() if name.startswith(prefix)}
            for norm, branch in zip(("norm1", "norm2"), branches):
                y = branch(w, g.layer_norm(c, w[norm + ".gain"], w[norm + ".bias"], eps), cfg)
                a, c = (c, a + y) if cfg.reversible else (c + y, c + y)
        return (a + c) / 2

    return run


# ---------------------------------------------------------------- cases

LSH = {"n_hashes": 2, "n_buckets": 0, "chunk_len": 4, "before": 1, "after": -1, "share_qk": 1,
       "std_length": 0, "rope": 1}
g.BLOCKS["lsh"] = stack((mixer, feed_forward), 1e-5)
g.OPTIONS["lsh"] = {"f": 16, **LSH, "reversible": 0}


def per_block(shapes):
    """The same parameters for each block."""

    def run(cfg):
        if cfg.blocks == 1:
            return shapes(cfg)
        return {f"block{i}.{name}": spec for i in range(cfg.blocks) for name, spec in shapes(cfg).items()}

    return run


def shapes(cfg):
    d, f = cfg.width, cfg.f
    out = {f"norm{i}.{j}": ((d,), j == "gain", 0.2) for i in (1, 2) for j in ("gain", "bias")}
    names = ("qk", "v", "o") if cfg.share_qk else "qkvo"
    out.update({"mixer.w_" + i: ((d, d), 0, d**-0.5) for i in names})
    out.update({"ffn.w_in": ((d, f), 0, d**-0.5), "ffn.w_out": ((f, d), 0, 0.6 * f**-0.5)})
    return {**out, "ffn.b_in": ((f,), 0, 0.3), "ffn.b_out": ((d,), 0, 0.3)}


g.SHAPES["lsh"] = per_block(shapes)


def config(name, variant, causal, length, lens=None, blocks=1, decodes=False, **given):
    """The rotations, (heads * rounds, e, columns), are one draw for all sequences and blocks."""
    cfg = g.config(variant, causal, length, lens, **given)
    cfg.blocks, cfg.decodes, cfg.margin, cfg.with_decode = blocks, False, np.inf, decodes
    rounds, columns = (1, 1) if is_exact(cfg) else (cfg.n_hashes, sum(factors(cfg)) // 2)
    cfg.rotation = g.draw(name + "/rotation", (cfg.heads * rounds, cfg.width // cfg.heads, columns), 0, 1)
    cfg.draws = {} if is_exact(cfg) else {"draw.rotation": cfg.rotation}
    return cfg


def well_sized(t, cfg):
    """No decision that single precision could take otherwise."""
    cfg.margin = np.inf
    g.BLOCKS[cfg.variant](t, t["x"], cfg)
    return cfg.margin > 1e-3


def run(name, cfg, differentiate=g.complex_step, plain=g.run):
    """With the draws and, causal, what decode gives (decode.y)."""
    out = {**plain(name, cfg, differentiate), **cfg.draws}
    for i in out:
        if i.startswith("grad."):  # weights of equal values: what is left is rounding
            out[i][np.abs(out[i]) < 1e-13] = 0
    if cfg.with_decode:
        cfg.decodes = True
        out["decode.y"] = g.BLOCKS[cfg.variant](out, out["x"], cfg)
        cfg.decodes = False
    return out


def metadata(cfg, plain=g.metadata):
    return {**plain(cfg), **({"blocks": str(cfg.blocks)} if cfg.blocks > 1 else {})}


def use():
    """This script's checks and draws in place of make_golden's."""
    g.run, g.metadata, g.well_sized = run, metadata, well_sized


def add(out, variant, causal, length, tag="", lens=None, **given):
    parts = [variant, "causal" if causal else "bi", f"t{length}", tag, "ragged" if lens else ""]
    name = "_".join(i for i in parts if i)
    out[name] = config(name, variant, causal, length, lens, **given)


def all_cases():
    """T = 13 is padded, and two rounds of 14 share a chunk of 4; 12 is three chunks a round."""
    out = {}
    for causal in (1, 0):
        for length in (13, 12, 3, 1):
            add(out, "lsh", causal, length, decodes=causal)
        add(out, "lsh", causal, 9, "apart", share_qk=0, rope=2, n_hashes=1, decodes=causal)
        add(out, "lsh", causal, 9, "r3_c3", n_hashes=3, chunk_len=3, before=2, after=1, decodes=causal)
        add(out, "lsh", causal, 7, "exact", std_length=7, heads=1, decodes=causal)
    add(out, "lsh", 0, 11, "", (11, 6))
    add(out, "lsh", 0, 9, "c2", (5, 8), chunk_len=2, n_hashes=3)
    add(out, "lsh", 1, 13, "c2_near", chunk_len=2, before=0, rope=0, decodes=True)
    add(out, "lsh", 1, 8, "b130", n_buckets=130, decodes=True)
    add(out, "lsh", 1, 8, "two_streams", reversible=1, blocks=2)
    add(out, "lsh", 1, 6, "two_blocks", blocks=2, decodes=True)
    return out


def vanishing(cfg):
    """Softmax over one key."""
    names = {"mixer.w_qk"} if cfg.share_qk else {"mixer.w_q", "mixer.w_k"}
    return names if cfg.len == 1 else set()


# ---------------------------------------------------------------- checks of this script itself


def check_by_hand():
    """Who sees whom in four positions with the buckets 1 0 1 0, scores all equal: sorted 1 3 | 0 2."""
    cfg = SimpleNamespace(len=4, std_length=0, n_hashes=1, chunk_len=2, before=1, after=0, causal=0)
    v, q = 10.0 ** np.arange(4)[:, None], np.zeros((4, 1))
    bucket = np.array([[1, 0, 1, 0]])
    g.close(whole_pass(q, v, bucket, 4, cfg)[1], [(1000 + 1 + 100) / 3])
    g.close(whole_pass(q, v, bucket, 4, cfg)[2], [(1 + 10 + 1000) / 3])
    cfg.causal = 1
    g.close(whole_pass(q, v, bucket, 4, cfg)[:, 0], [1, 1, (1 + 10) / 2, (10 + 1 + 100) / 3])
    cfg.before = 0
    g.close(decode(q, v, bucket, 4, cfg)[:, 0], [1, 1, 1, 10])
    cfg.n_hashes, bucket = 2, np.array([[0, 0, 1, 1], [0, 1, 1, 0]])
    g.close(whole_pass(q, v, bucket, 4, cfg)[:, 0], [1, 1, 10, (100 + 1) / 2])


def check_laws():
    """Where every position meets every other once, this is softmax attention without the diagonal;
    given the buckets the past does not depend on the future."""
    cfg = config("laws", "lsh", 1, 12, n_hashes=1, chunk_len=12, before=0)
    q, v = g.draw("q", (12, 4), 0, 1), g.draw("v", (12, 4), 0, 1)
    score = np.where(np.tri(12) > 0, q @ unit_keys(q).T - SELF * np.eye(12), -np.inf)
    weight = np.exp(score - score.max(-1, keepdims=True))
    some = np.arange(12)[None] % 3
    for form in whole_pass, decode:
        g.close(form(q, v, some, 12, cfg), weight / weight.sum(-1, keepdims=True) @ v)
    cfg = config("laws", "lsh", 1, 12)
    number = np.array([[3, 1, 4, 1, 5, 0, 2, 6, 5, 3, 5, 0], [2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5]])
    whole = whole_pass(q, v, number, 12, cfg)
    for t in range(1, 12):
        other = np.array(q)
        other[t:] = 2 - q[t:]
        g.close(whole_pass(other, v, number, 12, cfg)[:t], whole[:t])


if __name__ == "__main__":
    check_by_hand()
    check_laws()
    use()
    cases = all_cases()
    name = "lsh_causal_t13_c2_near"
    print(f"{name}: complex steps against central differences {g.check_gradients(name, cases[name]):.1e}")
    g.write_all(cases, vanishing)
