#!/usr/bin/env python3
"""operators.py - one operator or constant of variants/ and kernels/ changed at random: who notices?

Usage: tests/mutations/operators.py BUILD [--count 100] [--seed 1] [--skip N] [--list]

In a copy of the tree, one mutant at a time: + and - (* and /), < and <= (> and >=), constants and
indices +-1, && and ||. What it changes is drawn from --seed and the files' text alone. Only what
the mutated file touches is built, and the suites that see the file run, the likeliest first, until
one fails, crashes or finds no end; the battery runs on the variants that use the file. A mutant that
does not compile is replaced by the next. The last line is "N mutants: N failed, N crashed, N found
no end, N survived; N more did not compile".
"""
import argparse
import hashlib
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile

# What sees a file: (path, suites). battery:NAME is the battery on that variant alone. All entries
# that match count, in this order.
SEEN = [
    (r"variants/(\w+)\.c", r"golden battery:\1"),
    (r"template/(attention|ffn)\.c", "golden battery:vanilla battery:transformer_pp"),
    (r"template/dconv\.c", "golden battery:primer"),
    (r"template/gated\.c", "golden battery:gau battery:flash_linear battery:gau_alpha"),
    (r"template/relative\.c", "golden rel battery:gau battery:flash_linear"),
    (r"template/lsh\.c", "golden lsh battery:lsh battery:terraformer leak"),
    (r"template/modules\.c", "golden sparse battery:scaling_qkv battery:scaling"),
    (r"template/(sparse_ff|sru)\.c", "golden sparse sru battery:scaling_ff battery:terraformer"),
    (r"template/loss", "model sparse battery:scaling_loss"),
    (r"template/(run|block)\.c", "golden choices reversible blocks channel battery:lsh battery:gau_alpha"),
    (r"template/(mixer|option)\.c", "golden options solve battery:gau battery:scaling_ff"),
    (r"ops/attend\.c", "golden ops_grad battery:vanilla battery:gau_alpha battery:flash_linear"),
    (r"ops/(conv|rel)\.c", "conv rel golden battery:primer battery:gau"),
    (r"ops/linear\.c", "ops_grad golden battery:vanilla battery:scaling_ff"),
    (r"ops/language\.c", "ops_grad model train"),
    (r"ops/lsh\.c", "lsh golden battery:lsh"),
    (r"ops/(modules|sparse|sru)\.c", "sparse sru golden battery:scaling_qkv battery:scaling_ff battery:terraformer"),
    (r"ops/(pointwise|random)\.c", "ops_grad golden battery:vanilla battery:lsh battery:gau"),
    (r"ref/(attn|gate|gemm|norm|plain|loss|rope)\.c", "ref ref_example ref_grad ops_grad golden battery:vanilla battery:gau_alpha"),
    (r"ref/chunks\.c", "ref ref_example ref_grad golden battery:flash_linear"),
    (r"ref/(conv|rel)\.c", "conv rel golden battery:primer battery:gau"),
    (r"ref/lsh", "lsh golden battery:lsh cpu_lsh"),
    (r"ref/(modules|sparse|sru)\.c", "sparse sru golden battery:scaling battery:terraformer"),
    (r"ref/backend\.c", "device device_values ref battery:vanilla"),
    (r"cpu/attention", "cpu_attention battery:vanilla battery:gau_alpha battery:gau"),
    (r"cpu/(blocks|sparse_ff)\.", "cpu_blocks cpu_sparse sparse golden battery:scaling_ff"),
    (r"cpu/(modconv|mult)\.c", "cpu_modules cpu_mult sparse golden battery:scaling_qkv battery:scaling_loss"),
    (r"cpu/chunks", "cpu_chunks cpu_segments battery:flash_linear"),
    (r"cpu/(gemm|pack|tile)", "cpu_gemm cpu_attention cpu_chunks battery:vanilla"),
    (r"cpu/lsh", "cpu_lsh golden battery:lsh"),
    (r"cpu/(conv|rel|sru)\.c", "conv rel sru golden battery:primer battery:terraformer"),
    (r"cpu/", "cpu_ops cpu_rows cpu_sums golden battery:vanilla battery:gau executed"),
    (r"kernels/(tape|tape_block)\.c", "tape blocks reversible channel op_clock model_oom battery:lsh battery:vanilla"),
    (r"kernels/plugin\.c", "plugin"),
    (r"kernels/(device|dry|base|plugin|backends)\.c", "device device_values model_oom cost battery:vanilla"),
    (r"kernels/rng\.c", "rng sparse"),
    (r"", "cost options solve model"),
]
SECONDS = 120  # of one process, on its own clock: where cores are shared, that goes slower
SWAPS = {"+": "-", "-": "+", "*": "/", "/": "*", "<": "<=", "<=": "<", ">": ">=", ">=": ">",
         "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|//[^\n]*|/\*.*?\*/|\n[ \t]*#[^\n]*'
                   r'|[A-Za-z_]\w*|(?:0x[0-9a-fA-F]+|\d+\.\d*(?:[eE][-+]?\d+)?f?|\.\d+|\d+(?:[eE][-+]?\d+)?)\w*'
                   r'|->|\+\+|--|<<|>>|[-+*/%&|^]=|[<>=!]=|&&|\|\||.', re.S)


def sources():
    """What computes: variants, their template, the ops, tape and device, kernels/ref and cpu."""
    for folder in ["variants", "variants/template", "kernels", "kernels/ops", "kernels/ref", "kernels/cpu"]:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".c") and name not in ("skeleton.c", "host_backend.c"):
                yield os.path.join(folder, name)


def sites(text):
    """(offset, old, new) of every change; operands decide whether an operator has two sides."""
    found, before, depth = [], "", 0
    for match in TOKEN.finditer(text):
        token = match.group()
        if token.isspace() or token.startswith(("/*", "//", '"', "'", "\n")):
            continue
        binary = bool(re.match(r"[\w)\]]", before[-1:])) and before not in ("return", "sizeof", "case")
        rest = text[match.end():match.end() + 2]
        pointer = token == "*" and not (text[match.start() - 1] == " " and rest[:1] == " ")
        if token in SWAPS and binary and not pointer:
            found.append((match.start(), token, SWAPS[token]))
        elif re.fullmatch(r"\d+", token) and before not in ("-", "case", "<<", ">>", "."):
            found.append((match.start(), token, str(int(token) + 1)))
            if int(token) > 0:
                found.append((match.start(), token, str(int(token) - 1)))
        before = token
    return found


def draw(seed):
    """All mutants in the order in which they are tried: files evenly, then places evenly."""
    rng = random.Random(seed)
    by_file = {}
    for path in sources():
        with open(path, encoding="utf-8") as file:
            places = sites(file.read())
        rng.shuffle(places)
        if places:
            by_file[path] = places
    while by_file:
        paths = list(by_file)
        rng.shuffle(paths)
        for path in paths:
            yield (path,) + by_file[path].pop()
            if not by_file[path]:
                del by_file[path]


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def name_of(path, text, at, old, new):
    line = text[text.rfind("\n", 0, at) + 1:text.find("\n", at)].strip()
    digest = hashlib.sha1(f"{path} {at} {new} {text}".encode()).hexdigest()[:6]
    return f"{digest} {path}:{line_of(text, at)}: '{old}' to '{new}' in: {line}"


class Copy:
    """The tree, with the objects of BUILD to start from."""

    def __init__(self, build, folder):
        self.build, self.tree = build, os.path.join(folder, "tree")
        os.makedirs(os.path.join(self.tree, build))
        for name in ["Makefile", "kernels", "variants", "datasets", "report", "bench", "tests"]:
            subprocess.run(["cp", "-pR", name, self.tree], check=True)
        for name in ["obj", "flags", "variants_table.c", "build_id.c"]:
            subprocess.run(["cp", "-pR", os.path.join(build, name), os.path.join(self.tree, build)],
                           check=True)

    def make(self, name):
        goals = [f"{self.build}/tests/test_{name}"] + [f"{self.build}/longmix"] * (name == "train")
        return self.run(["make", "-s", "SETUP=:"] + goals, {}, 900)[0] == 0

    def run(self, command, more, limit):
        """(exit code or "no end", output)"""
        env = {k: v for k, v in os.environ.items() if k != "BXFI_MAP"}
        env.update(GOMP_SPINCOUNT="1000", LONGMIX=f"{self.build}/longmix", **more)

        def bound():
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        try:
            done = subprocess.run(command, cwd=self.tree, env=env, timeout=limit, check=False, preexec_fn=bound,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired as late:
            return "no end", late.stdout or b""
        return done.returncode, done.stdout

    def judge(self, suite):
        """"" if the suite passes, else how it ends; None where it cannot be built."""
        name, _, variant = suite.partition(":")
        if not self.make(name):
            return None
        more = {"LONGMIX_VARIANT": variant} if variant else {}
        code, said = self.run([f"./{self.build}/tests/test_{name}", "--fail-fast"], more, 900)
        if code == 0:
            return ""
        if code == "no end" or b"Timed out" in said or b"SIGXCPU" in said or code == -24:
            return "no end"
        crashed = re.search(rb"Crashing: ([0-9]+)", said)
        return "crashed" if code < 0 or crashed is None or crashed.group(1) != b"0" else "failed"

    def killer(self, suites):
        """(how, suite) of the first that does not pass, ("", "") if all do, None if it is no program."""
        for suite in suites:
            how = self.judge(suite)
            if how is None:
                return None
            if how:
                return how, suite
        return "", ""

    def mutate(self, path, text):
        with open(os.path.join(self.tree, path), "w", encoding="utf-8") as file:
            file.write(text)


def suites_of(path):
    """Those that see the file, each once."""
    found = []
    for pattern, suites in SEEN:
        match = re.search(pattern, path)
        if match:
            found += match.expand(suites).split()
    known = [i for i in found if os.path.exists(f"tests/test_{i.partition(':')[0]}.c")]
    return list(dict.fromkeys(known))


def try_one(copy, mutant):
    path, at, old, new = mutant
    with open(os.path.join(copy.tree, path), encoding="utf-8") as file:
        text = file.read()
    copy.mutate(path, text[:at] + new + text[at + len(old):])
    end = copy.killer(suites_of(path))
    copy.mutate(path, text)
    if end is None:
        return "not compiled"
    how, suite = end
    what = f"{how} by {suite}".replace("no end by", "no end in") if how else "SURVIVED"
    print(f"{what:<34}{name_of(path, text, at, old, new)}", flush=True)
    return how or "survived"


def healthy(copy, suites):
    """Do they pass without any mutant?"""
    for suite in suites:
        how = copy.judge(suite)
        if how != "":
            print(f"{suite}: {how or 'the build'} without any mutant")
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first so many")
    parser.add_argument("--trust", action="store_true", help="do not run the suites without a mutant first")
    parser.add_argument("--list", action="store_true", help="show the mutants and their suites, try none")
    args = parser.parse_args()
    order = list(draw(args.seed))[args.skip:]  # before the sources can change
    if args.list:
        for path, at, old, new in order[:args.count]:
            with open(path, encoding="utf-8") as file:
                print(name_of(path, file.read(), at, old, new), "|", *suites_of(path))
        return 0
    folder = tempfile.mkdtemp()
    counts = dict.fromkeys(("failed", "crashed", "no end", "survived", "not compiled"), 0)
    tried = 0
    try:
        copy = Copy(args.build, folder)
        if not args.trust and not healthy(copy, dict.fromkeys(s for m in order[:args.count] for s in suites_of(m[0]))):
            return 2
        while sum(counts.values()) - counts["not compiled"] < args.count and tried < len(order):
            counts[try_one(copy, order[tried])] += 1
            tried += 1
    finally:
        shutil.rmtree(folder)
    print(f"{tried - counts['not compiled']} mutants: {counts['failed']} failed, {counts['crashed']} crashed, "
          f"{counts['no end']} found no end, {counts['survived']} survived; "
          f"{counts['not compiled']} more did not compile")
    return 0


if __name__ == "__main__":
    sys.exit(main())
