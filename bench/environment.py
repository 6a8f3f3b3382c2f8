"""The environment of a fair run: nothing slows a library down, every library is held to its threads and vectors.

Libraries read all of this when they are loaded. So `restart` comes before the first import of NumPy, and workers are
separate processes.
"""

import os
import sys

# Variables that change the speed of a peer: threads, instruction sets, debug modes. Whole families are named, since
# each release adds some.
SLOWING = (
    "OPENBLAS_", "GOTO_", "BLIS_", "MKL_", "NVPL_", "VECLIB_", "OMP_", "GOMP_", "KMP_", "NUMEXPR_", "DNNL_", "ONEDNN_",
    "ATEN_", "TORCH_", "XLA_", "JAX_", "NPY_", "FASTBP_", "GLIBC_TUNABLES", "PYTHONDEVMODE", "PYTHONMALLOC",
    "PYTHONTRACEMALLOC", "PYTHONASYNCIODEBUG",
)  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_XLA_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

# Variables that hold every library to AVX2. NumPy warns of unknown features; these are from several releases.
AVX2 = {
    "FASTBP_ISA": "avx2", "OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL",
}  # fmt: skip
LIMITS = {"native": {}, "avx2": AVX2}


def slowing(environ):
    """Return the names in environ of variables that would change the speed of a peer."""
    return sorted(name for name in environ if name.startswith(SLOWING))


def cleaned(environ):
    """Return environ without these names."""
    drop = set(slowing(environ))
    return {name: value for name, value in environ.items() if name not in drop}


def restart():
    """Start this command again in a clean environment, and say what was cleared; do nothing if it is clean."""
    names = slowing(os.environ)
    if not names:
        return
    print(f"cleared from the environment, since it changes the speed of a peer: {', '.join(names)}",
          file=sys.stderr, flush=True)  # fmt: skip
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], cleaned(os.environ))


def environment(n_threads, isa="native", not_understood=()):
    """Return a worker's environment: clean, n_threads for every library, no wider vectors than isa.

    `not_understood` names limits that the library of this worker does not accept.
    """
    limits = {name: value for name, value in LIMITS[isa].items() if name not in not_understood}
    flags = [limits.get("XLA_FLAGS", ""), ONE_XLA_THREAD if n_threads == 1 else ""]
    threads = dict.fromkeys(THREADS, str(n_threads))
    xla = {"XLA_FLAGS": " ".join(filter(None, flags)), "JAX_PLATFORMS": "cpu"}
    return cleaned(os.environ) | limits | threads | xla


def cores(n_threads):
    """Return the last n_threads cores that this process may use: those of a worker."""
    return sorted(os.sched_getaffinity(0))[-n_threads:] if hasattr(os, "sched_getaffinity") else []
