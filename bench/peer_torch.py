#!/usr/bin/python3
"""PyTorch as a peer: runs a case of ours as PyTorch does it, for `longmix bench --peer`.

Speaks the protocol of bench/sampler.h on standard input and output. On the processor PyTorch gets
OpenBLAS's OpenMP build where Debian has it, as many threads as we use, and its own defaults besides.
A case of a GPU runs there: attention in bf16 by cuDNN's fused kernel, the rest under autocast where
our products are in bf16. `--try cuda` ends with 1 where PyTorch has no GPU or no cuDNN. That part has
never run."""
import contextlib
import ctypes
import glob
import json
import math
import os
import sys
import time


def with_openmp_blas():
    """The loader reads LD_LIBRARY_PATH only at its start, so this starts itself again. Which kernels
    OpenBLAS takes stays as the environment has it: old ones are wrong on some processors."""
    found = glob.glob("/usr/lib/*/openblas-openmp")
    if not found or "LONGMIX_PEER_AGAIN" in os.environ:
        return
    path = os.environ.get("LD_LIBRARY_PATH", "")
    os.environ["LD_LIBRARY_PATH"] = found[0] + (":" + path if path else "")
    os.environ["LONGMIX_PEER_AGAIN"] = "1"
    for name in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_PROC_BIND"):
        os.environ.pop(name, None)
    os.execv(sys.executable, [sys.executable] + sys.argv)


with_openmp_blas()
try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit("PyTorch is not there: sudo apt-get install -y python3-torch libopenblas0-openmp")


def has_cudnn():
    return torch.cuda.is_available() and torch.backends.cudnn.is_available()


def name():
    """With the version, and cuDNN's or the kernels of its BLAS where that is OpenBLAS."""
    if has_cudnn():
        version, device = torch.backends.cudnn.version(), torch.cuda.get_device_name()
        return "torch %s, cuDNN %s, %s" % (torch.__version__, version, device)
    try:
        core = ctypes.CDLL("libblas.so.3").openblas_get_corename
        core.restype = ctypes.c_char_p
        return "torch %s, OpenBLAS %s" % (torch.__version__, core().decode())
    except (OSError, AttributeError):
        return "torch " + torch.__version__


def place_of(c):
    """The device of a case."""
    return "cpu" if c["backend"] in ("cpu", "ref") else "cuda"


def causal_mask(n):
    return torch.full((n, n), -math.inf).triu(1)


class CudnnAttention:
    """Softmax attention of (B,H,T,d) by cuDNN alone: it knows half precision only, in memory, too."""

    what = "scaled_dot_product_attention by cuDNN, bf16 in memory"

    def __init__(self, c):
        from torch.nn.attention import SDPBackend, sdpa_kernel

        if c["dtype"] != "bf16":
            raise NotImplementedError("cuDNN's attention is for bf16, not " + c["dtype"])
        shape = c["batch"], c["heads"], c["n"], c["width"] // c["heads"]
        self.qkv = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
        self.only_cudnn = lambda: sdpa_kernel(SDPBackend.CUDNN_ATTENTION)

    def forward(self):
        with self.only_cudnn():
            return F.scaled_dot_product_attention(*self.qkv, is_causal=True)


# ---- what is timed: each has forward(), and backward cases a gradient to start from ----
class Attention:
    """Softmax attention of (B,H,T,d): torch's own fused one where it is public (2.0), else baddbmm,
    softmax and bmm, as its MultiheadAttention does it."""

    def __init__(self, c):
        b, h, n, d = c["batch"], c["heads"], c["n"], c["width"] // c["heads"]
        self.qkv = [torch.randn(b, h, n, d, requires_grad=True) for _ in range(3)]
        self.fused = getattr(F, "scaled_dot_product_attention", None)
        self.mask = causal_mask(n)
        self.what = "scaled_dot_product_attention" if self.fused else "baddbmm, softmax, bmm"

    def forward(self):
        q, k, v = self.qkv
        if self.fused:
            return self.fused(q, k, v, is_causal=True)
        b, h, n, d = q.shape
        q, k, v = (x.reshape(b * h, n, d) for x in (q, k, v))
        mask = self.mask.expand(b * h, n, n)
        weights = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=d**-0.5).softmax(-1)
        return torch.bmm(weights, v).view(b, h, n, d)


class Layer:
    """nn.TransformerEncoderLayer: norm first, GELU, a causal mask; no rotary positions."""

    what = "nn.TransformerEncoderLayer"

    def __init__(self, c):
        d = c["width"]
        self.net = nn.TransformerEncoderLayer(
            d, c["heads"], 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.x = torch.randn(c["batch"], c["n"], d, requires_grad=True)
        self.mask = causal_mask(c["n"])
        self.net.train(c["pass"] != "fwd")

    def forward(self):
        return self.net(self.x, src_mask=self.mask)


class Gau(nn.Module):
    """Gated attention unit, quadratic, as in bench's variant gau, without rotary positions."""

    def __init__(self, d, e, s):
        super().__init__()
        self.sizes = (e, e, s)
        self.norm = nn.LayerNorm(d)
        self.uvz = nn.Linear(d, 2 * e + s)
        self.out = nn.Linear(e, d)
        self.gain = nn.Parameter(torch.ones(2, s))
        self.bias = nn.Parameter(torch.zeros(2, s))

    def forward(self, x, mask):
        u, v, z = F.silu(self.uvz(self.norm(x))).split(self.sizes, dim=-1)
        q, k = z * self.gain[0] + self.bias[0], z * self.gain[1] + self.bias[1]
        scores = torch.bmm(q, k.transpose(1, 2)) / x.shape[1]
        weights = F.relu(scores).square() * mask
        return x + self.out(u * torch.bmm(weights, v))


class GauLayer:
    what = "two gated attention units of nn.Linear, bmm, relu"

    def __init__(self, c):
        d = c["width"]
        self.net = nn.ModuleList([Gau(d, 2 * d, 128) for _ in range(2)])
        self.x = torch.randn(c["batch"], c["n"], d, requires_grad=True)
        self.mask = torch.ones(c["n"], c["n"]).tril()

    def forward(self):
        y = self.x
        for block in self.net:
            y = block(y, self.mask)
        return y


class LanguageModel:
    """A training step: embedding, nn.TransformerEncoderLayer, head, loss, clipping, AdamW."""

    what = "nn.TransformerEncoderLayer, cross_entropy, clip_grad_norm_, AdamW"

    def __init__(self, c):
        d, layers = c["width"], int(c["set"].get("layers", 4))
        layer = nn.TransformerEncoderLayer(
            d, c["heads"], 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.net = nn.ModuleDict(
            {
                "embed": nn.Embedding(256, d),
                "blocks": nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(d)),
                "head": nn.Linear(d, 256, bias=False),
            }
        )
        self.ids = torch.randint(256, (c["batch"], c["n"] + 1))
        self.mask = causal_mask(c["n"])
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-6, betas=(0.9, 0.95))

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        y = self.net["head"](self.net["blocks"](self.net["embed"](self.ids[:, :-1]), self.mask))
        F.cross_entropy(y.reshape(-1, 256), self.ids[:, 1:].reshape(-1)).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()


KINDS = {
    ("kernel", "attention", "cuda"): CudnnAttention,
    ("kernel", "attention"): Attention,
    ("layer", "vanilla"): Layer,
    ("layer", "gau"): GauLayer,
    ("kernel", "lm_step"): LanguageModel,
}


# ---- clocks ----
def repeat(work, times):
    for _ in range(times):
        work()


class HostClock:
    def precision(self):
        return contextlib.nullcontext()

    def time(self, work):
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin


class GpuClock:
    """Marks on the stream. What is made while precision() holds is made on the GPU."""

    def __init__(self, dtype):
        self.half = dtype == "bf16"
        torch.set_default_device("cuda")
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        self.marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def precision(self):
        return torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.half)

    def time(self, work):
        self.marks[0].record()
        work()
        self.marks[1].record()
        self.marks[1].synchronize()
        return 1e-3 * self.marks[0].elapsed_time(self.marks[1])


# ---- the protocol ----
class Peer:
    case = None

    def hello(self, request):
        return {
            "protocol": 1,
            "build": "torch",
            "commit": "",
            "compiler": name(),
            "isa": "",
        }

    def open(self, request):
        c = request["case"]
        for name, value in {"batch": 1, "heads": 1, "set": "", "threads": 1}.items():
            c.setdefault(name, value)
        c["set"] = dict(item.split("=") for item in c["set"].split())
        where, of = place_of(c), (c["level"], c["variant"])
        kind = KINDS.get((*of, where)) or KINDS.get(of)
        if kind is None:
            return {"status": "unsupported", "reason": "torch has nothing like " + c["variant"]}
        torch.set_num_threads(c["threads"])
        torch.manual_seed(1)
        self.clock = HostClock() if where == "cpu" else GpuClock(c["dtype"])
        with self.clock.precision():
            self.case, self.kind = kind(c), c["pass"]
        self.start = None
        return {"seconds": self.run(1), "unit": 1, "what": self.case.what}

    def time(self, request):
        return {"seconds": self.run(request["steps"]), "switches": 0}

    def run(self, steps):
        with self.clock.precision():
            if self.kind == "train":
                return self.clock.time(lambda: repeat(self.case.step, steps))
            return self.forward(steps) if self.kind == "fwd" else self.backward(steps)

    def forward(self, steps):
        with torch.no_grad():
            return self.clock.time(lambda: repeat(self.case.forward, steps))

    def backward(self, steps):
        """Of the backward pass alone."""
        seconds = 0.0
        for _ in range(steps):
            y = self.case.forward()
            if self.start is None:
                self.start = torch.randn_like(y)
            seconds += self.clock.time(lambda: y.backward(self.start))
        return seconds


def answer(peer, line):
    word, _, text = line.partition(" ")
    try:
        if word not in ("hello", "open", "time"):
            return {"status": "unsupported", "reason": "a peer does not know '%s'" % word}
        return {"status": "ok", "reason": "", **getattr(peer, word)(json.loads(text))}
    except NotImplementedError as error:
        return {"status": "unsupported", "reason": str(error)}
    except (RuntimeError, MemoryError) as error:
        return {"status": "oom", "reason": str(error).splitlines()[0]}


def main():
    if "--try" in sys.argv:
        if "cuda" in sys.argv and not has_cudnn():
            sys.exit("PyTorch has no GPU here, or no cuDNN")
        return print(name())
    peer, out = Peer(), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print; answers go alone
    for line in sys.stdin:
        print(json.dumps(answer(peer, line.strip())), file=out, flush=True)


if __name__ == "__main__":
    main()
