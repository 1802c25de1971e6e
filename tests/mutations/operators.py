#!/usr/bin/env python3
"""operators.py - one operator or constant of variants/ and kernels/ changed at random: who notices?

Usage: tests/mutations/operators.py BUILD [--count 100] [--seed 1] [--only N,N] [--list]

In a copy of the tree, one mutant at a time: + and - (* and /), < and <= (> and >=), constants and
indices +-1, && and ||. What it changes is drawn from --seed and the files' text alone. Only the
object of the mutated file and the suites are built; suites run until one fails. The last line is
"N mutants: N killed, N survived, N not built" (an unbuilt one is replaced by another).
"""
import argparse
import hashlib
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

SUITES = ["golden", "battery", "cpu_ops", "cpu_rows", "cpu_attention", "cpu_chunks", "cpu_gemm",
          "cpu_lsh", "sparse", "conv", "rel", "reversible", "channel", "ops_grad", "ref", "model", "cost",
          "options"]
SWAPS = {"+": "-", "-": "+", "*": "/", "/": "*", "<": "<=", "<=": "<", ">": ">=", ">=": ">",
         "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|//[^\n]*|/\*.*?\*/|\n[ \t]*#[^\n]*'
                   r'|[A-Za-z_]\w*|(?:0x[0-9a-fA-F]+|\d+\.\d*(?:[eE][-+]?\d+)?f?|\.\d+|\d+(?:[eE][-+]?\d+)?)\w*'
                   r'|->|\+\+|--|<<|>>|[-+*/%&|^]=|[<>=!]=|&&|\|\||.', re.S)


def sources():
    """What computes: variants, their template, kernels/ref, kernels/cpu and the ops."""
    for folder in ["variants", "variants/template", "kernels/ops", "kernels/ref", "kernels/cpu"]:
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
        self.suites = [s for s in SUITES if os.path.exists(f"tests/test_{s}.c")]

    def make(self, names):
        """One suite after another: the first one that fails saves linking the others."""
        goals = [f"{self.build}/tests/test_{name}" for name in names]
        return self.run(["make", "-s", "SETUP=:"] + goals, 600) == 0

    def run(self, command, limit):
        env = {k: v for k, v in os.environ.items() if k != "BXFI_MAP"}
        env.update(GOMP_SPINCOUNT="1000", LONGMIX=f"{self.build}/longmix")
        try:
            return subprocess.run(command, cwd=self.tree, env=env, timeout=limit, check=False,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        except subprocess.TimeoutExpired:
            return 124

    def killer(self):
        """The first suite that fails, "" if none does, None where the mutant is no program."""
        for name in self.suites:
            if not self.make([name]):
                return None
            if self.run([f"./{self.build}/tests/test_{name}", "--fail-fast"], 200) != 0:
                return name
        return ""

    def mutate(self, path, text):
        with open(os.path.join(self.tree, path), "w", encoding="utf-8") as file:
            file.write(text)


def try_one(copy, mutant):
    path, at, old, new = mutant
    with open(os.path.join(copy.tree, path), encoding="utf-8") as file:
        text = file.read()
    copy.mutate(path, text[:at] + new + text[at + len(old):])
    by = copy.killer()
    copy.mutate(path, text)
    if by is not None:
        what = f"killed by {by}" if by else "SURVIVED"
        print(f"{what:<18}{name_of(path, text, at, old, new)}", flush=True)
    return by


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first so many")
    parser.add_argument("--list", action="store_true", help="show the mutants, try none")
    args = parser.parse_args()
    order = draw(args.seed)
    for _ in range(args.skip):
        next(order)
    if args.list:
        for _, (path, at, old, new) in zip(range(args.count), order):
            with open(path, encoding="utf-8") as file:
                print(name_of(path, file.read(), at, old, new))
        return 0
    order = list(itertools.islice(order, 4 * args.count))  # before the sources can change
    folder = tempfile.mkdtemp()
    counts = {"killed": 0, "survived": 0, "not built": 0}
    try:
        copy = Copy(args.build, folder)
        by = copy.killer()
        if by != "":
            print(f"{by or 'the build'} fails without any mutant")
            return 2
        while counts["killed"] + counts["survived"] < args.count:
            by = try_one(copy, order.pop(0))
            counts["not built" if by is None else "killed" if by else "survived"] += 1
    finally:
        shutil.rmtree(folder)
    print(f"{args.count} mutants: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
