"""PyTorch as a peer of the benchmark: reads one problem a line as JSON, answers with its times a line.

Timed as warptile is: 'warm' replays a CUDA graph of several calls, 'cold' empties the L2 cache before every call and
subtracts what that takes, 'eager' calls one after another. Data is normal noise of PyTorch's own making; every routine is
checked against the same computation in float32 (float64 for float32) before it is timed.
"""

import json
import statistics
import sys

try:
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel
except Exception as error:  # Whatever keeps PyTorch from loading is the reason to tell.
    print(json.dumps({"problem": f"{type(error).__name__}: {error}".splitlines()[0]}), flush=True)
    sys.exit(0)

# A wrong routine has a relative error near 1; rounding of half types stays far below this.
LARGEST_ERROR = 0.02


def normal(*shape, dtype):
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)


def attention(p, dtype):
    """[batch, sequence, heads, headDim], as warptile stores it; SDPA takes strided views of it."""
    q = normal(p["batch"], p["seqQ"], p["heads"], p["headDim"], dtype=dtype).transpose(1, 2)
    k, v = (normal(p["batch"], p["seqK"], p["kvHeads"], p["headDim"], dtype=dtype).transpose(1, 2) for _ in range(2))
    grouped = p["heads"] != p["kvHeads"]
    query, key = (torch.arange(n, device="cuda") for n in (p["seqQ"], p["seqK"]))
    distance = query[:, None] + p["seqK"] - p["seqQ"] - key[None, :]
    left = p.get("left")
    # A single query at the end sees everything.
    causal = p["causal"] and p["seqQ"] > 1
    if causal and p["seqQ"] != p["seqK"]:
        raise ValueError("causal masks of PyTorch begin at the first key")
    mask = (distance >= 0) & (distance <= left) if left is not None else None
    wide = torch.float64 if dtype == torch.float32 else torch.float32
    # The first sequence and head say enough.
    one = [x[:1, :1].to(wide) for x in (q, k, v)]
    with sdpa_kernel(SDPBackend.MATH):
        expected = F.scaled_dot_product_attention(*one, attn_mask=mask, is_causal=causal and mask is None)

    def sdpa(backend):
        def run():
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(
                    q, k, v, attn_mask=mask, is_causal=causal and mask is None, enable_gqa=grouped
                )

        return run

    routines = {
        "sdpa-cudnn": sdpa(SDPBackend.CUDNN_ATTENTION),
        "sdpa-flash": sdpa(SDPBackend.FLASH_ATTENTION),
        "sdpa-efficient": sdpa(SDPBackend.EFFICIENT_ATTENTION),
    }
    if mask is not None and dtype != torch.float32:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        def visible(_b, _h, i, j):
            return (i >= j) & (i - j <= left)

        blocks = create_block_mask(visible, None, None, p["seqQ"], p["seqK"], device="cuda")
        compiled = torch.compile(flex_attention)
        routines["flex-attention"] = lambda: compiled(q, k, v, block_mask=blocks, enable_gqa=grouped)
    return routines, lambda result: (result[:1, :1].to(wide), expected)


def kronecker(p, dtype):
    """y = x K^T for K of pattern (a, b, c, d): a*d products of [n, c] with [c, b]; the last factor of a chain comes first."""
    n, last = p["n"], p["batchLast"]
    patterns = list(reversed(p["chain"]))
    weights = [normal(a, d, c, b, dtype=dtype) / c**0.5 for a, b, c, d in patterns]
    inputs = patterns[0][0] * patterns[0][2] * patterns[0][3]
    x = normal(inputs, n, dtype=dtype) if last else normal(n, inputs, dtype=dtype)

    def bmm():
        y = x
        for (a, b, c, d), w in zip(patterns, weights):
            if last:
                blocks = y.reshape(a, c, d, n).transpose(1, 2).reshape(a * d, c, n)
                y = torch.bmm(w.reshape(a * d, c, b).transpose(1, 2), blocks)
                y = y.reshape(a, d, b, n).transpose(1, 2).reshape(a * b * d, n)
            else:
                blocks = y.reshape(n, a, c, d).permute(1, 3, 0, 2).reshape(a * d, n, c)
                y = torch.bmm(blocks, w.reshape(a * d, c, b))
                y = y.reshape(a, d, n, b).permute(2, 0, 3, 1).reshape(n, a * b * d)
        return y

    def einsum(values=None, factors=None):
        y = x if values is None else values
        for (a, b, c, d), w in zip(patterns, weights if factors is None else factors):
            if last:
                y = torch.einsum("acdn,adcb->abdn", y.reshape(a, c, d, n), w).reshape(a * b * d, n)
            else:
                y = torch.einsum("nacd,adcb->nabd", y.reshape(n, a, c, d), w).reshape(n, a * b * d)
        return y

    expected = einsum(x.double(), [w.double() for w in weights])
    return {"bmm": bmm, "einsum": einsum}, lambda result: (result.double(), expected)


def w4a16(p, dtype):
    """PyTorch's int4 product takes bfloat16 with groups of 32 to 256."""
    if dtype != torch.bfloat16:
        raise ValueError("the int4 product is for bfloat16")
    m, k, n, group = p["m"], p["k"], p["n"], p["groupSize"]
    x = normal(m, k, dtype=dtype)
    levels = torch.randint(0, 16, (n, k), device="cuda", dtype=torch.int32)
    scales = torch.rand(k // group, n, device="cuda", dtype=torch.float32).add(0.5).div(k**0.5).to(dtype)
    packed = torch._convert_weight_to_int4pack((levels[:, ::2] << 4 | levels[:, 1::2]).to(torch.uint8), 8)
    # (level - 8) * scale + zero
    scales_and_zeros = torch.stack([scales, torch.zeros_like(scales)], dim=-1).contiguous()
    weights = (levels.float() - 8).reshape(n, k // group, group) * scales.float().t()[:, :, None]
    expected = x.float() @ weights.reshape(n, k).t()
    run = lambda: torch._weight_int4pack_mm(x, packed, group, scales_and_zeros)
    return {"int4": run}, lambda result: (result.float(), expected)


PROBLEMS = {"attention": attention, "kroneckerMatmul": kronecker, "w4a16Matmul": w4a16}


def elapsed_us(body):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    body()
    end.record()
    end.synchronize()
    return 1000 * start.elapsed_time(end)


def summary(samples):
    ordered = sorted(samples)
    middle = statistics.median(ordered)
    at = lambda share: ordered[int(share * (len(ordered) - 1))]
    return {"us": middle, "spread": (at(0.75) - at(0.25)) / middle if middle else 0}


def captured(body):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    return graph


def repeat(count, body):
    for _ in range(count):
        body()


def measure(run, columns, samples, budget_ms):
    # Compilation, plans and workspaces come before any recording.
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        repeat(3, run)
    torch.cuda.synchronize()
    once = max(elapsed_us(run), 1)
    times = {}
    if "warm" in columns:
        calls = max(1, min(20, int(2000 / once)))
        graph = captured(lambda: repeat(calls, run))
        one = max(elapsed_us(graph.replay), 0.1)
        repeat(max(1, min(-(-50 // calls), int(1000 * budget_ms / one))), graph.replay)
        replays = max(1, int(1000 * min(1, budget_ms / samples) / one))
        times["warm"] = summary(
            [elapsed_us(lambda: repeat(replays, graph.replay)) / (replays * calls) for _ in range(samples)]
        )
    if "cold" in columns:
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        large = torch.randint(0, 9, (cache // 2,), device="cuda", dtype=torch.int32)  # twice the cache
        large.amax()
        both = captured(lambda: repeat(10, lambda: (large.amax(), run())))
        alone = captured(lambda: repeat(10, lambda: large.amax()))
        repeat(2, lambda: (both.replay(), alone.replay()))
        times["cold"] = summary(
            [(elapsed_us(both.replay) - elapsed_us(alone.replay)) / 10 for _ in range(samples)]
        )
    if "eager" in columns:
        calls = max(1, min(50, int(1000 * budget_ms / samples / once)))
        times["eager"] = summary([elapsed_us(lambda: repeat(calls, run)) / calls for _ in range(samples)])
    return times


def answer(request):
    dtype = getattr(torch, request["dtype"])
    try:
        routines, pair = PROBLEMS[request["operation"]](request["problem"], dtype)
    except Exception as error:
        return {"runs": [], "problems": [f"torch: {str(error).splitlines()[0]}"]}
    runs, problems = [], []
    for name, run in routines.items():
        try:
            got, expected = pair(run())
            error = ((got - expected).norm() / expected.norm()).item()
            if not error <= LARGEST_ERROR:
                problems.append(f"torch {name}: its result is wrong (relative error {error:.3g})")
                continue
            times = measure(run, request["columns"], request["samples"], request["budgetMs"])
            runs.append({"name": f"torch {name}", "times": times})
        except Exception as error:
            problems.append(f"torch {name}: {(str(error) or type(error).__name__).splitlines()[0][:160]}")
    return {"runs": runs, "problems": problems}


def main():
    if not torch.cuda.is_available():
        print(json.dumps({"problem": "PyTorch sees no GPU"}), flush=True)
        return
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    print(json.dumps({"version": torch.__version__}), flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), flush=True)
            torch.cuda.empty_cache()


main()
