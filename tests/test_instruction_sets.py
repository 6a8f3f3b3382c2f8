"""A build has the instruction sets of its architecture, finds those of the processor, and does not change the caller's
floating-point state."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import _kernels

ROOT = Path(__file__).parent.parent
X86 = platform.machine() in ("x86_64", "AMD64")
CPUINFO = Path("/proc/cpuinfo")
NEEDS = {   # flags as Linux names them; it shows none that the system does not save
    "avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx2", "fma"},
    "avx2": {"avx2", "fma"},
    "baseline": set(),
}
# FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO of glibc
MODES = {"x86_64": (0x800, 0x400, 0xC00), "aarch64": (0x400000, 0x800000, 0xC00000)}


def of_this_processor():
    """The processor's flags as the system reports them"""
    if not X86:
        return ("baseline",)
    line = next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
    return tuple(name for name, needed in NEEDS.items() if needed <= set(line.split()))


def test_a_build_has_every_instruction_set_of_its_architecture():
    assert _kernels.built == (("avx512", "avx2", "baseline") if X86 else ("baseline",))


@pytest.mark.skipif(X86 and not CPUINFO.is_file(), reason="this system does not list what its processor has")
def test_every_instruction_set_of_this_processor_is_found():
    """`__builtin_cpu_supports` is always 0 in some builds of clang, which would silently use only baseline"""
    assert _kernels.available == of_this_processor()
    assert "__builtin_cpu_supports(" not in (ROOT / "src" / "kernels" / "dispatch.c").read_text()


STUBS = """
#include <stdio.h>
#include "kernels.h"
const isa_t fastbp_isa_avx512 = {"avx512"}, fastbp_isa_avx2 = {"avx2"}, fastbp_isa_baseline = {"baseline"};
int main(void)
{
    for (const isa_t *const *each = fastbp_isas(); (*each)->name; each++)
        printf("%s ", (*each)->name);
    return 0;
}
"""


def compiled(compiler, folder):
    (folder / "stubs.c").write_text(STUBS)
    kernels = ROOT / "src" / "kernels"
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run([*compiler, "-std=gnu11", "-O1", f"-I{kernels}", str(folder / "stubs.c"),
                    str(kernels / "dispatch.c"), "-o", str(folder / "stubs")], check=True, env=environment)
    return folder / "stubs"


@pytest.mark.skipif(not X86 or not CPUINFO.is_file(), reason="of Linux on x86-64")
@pytest.mark.parametrize("compiler", ["cc", "clang", "zig cc"])
def test_the_same_are_found_by_every_compiler(compiler, tmp_path):
    command = compiler.split() if compiler != "cc" else [(sysconfig.get_config_var("CC") or "cc").split()[0]]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    found = subprocess.run([compiled(command, tmp_path)], capture_output=True, text=True, check=True).stdout
    assert tuple(found.split()) == of_this_processor()


@pytest.mark.skipif(not X86 or shutil.which("qemu-x86_64-static") is None, reason="needs qemu-x86_64-static")
@pytest.mark.parametrize(("processor", "expected"), [("Nehalem", "baseline"), ("max", "avx2 baseline"),
                                                     ("max,-avx2", "baseline"), ("max,-fma", "baseline"),
                                                     ("max,-xsave", "baseline")])
def test_what_another_processor_lacks_is_not_used(processor, expected, tmp_path):
    """qemu 7.2 and later emulates AVX2, but not AVX-512"""
    compiler = [(sysconfig.get_config_var("CC") or "cc").split()[0], "-static"]
    done = subprocess.run(["qemu-x86_64-static", "-cpu", processor, compiled(compiler, tmp_path)], capture_output=True,
                          text=True, check=True)
    assert done.stdout.split() == expected.split()


# ---------------------------------------------------------------- the caller's floating-point state


X, y = np.random.default_rng(0).standard_normal((50, 7)), np.arange(50) % 3


def trainers():
    """Arguments of both dtypes, made by NumPy in the caller's floating-point state"""
    return [
        fastbp.Trainer(fastbp.Network([7, 9, 3], activation="sigmoid", output="softmax", seed=0, dtype=dtype),
                       fastbp.Adam(0.1), weight_decay=0.1) for dtype in (np.float32, np.float64)
    ]


def results(trainers):
    """Bits of the calls whose arithmetic is completely compiled"""
    found = []
    for trainer in trainers:
        net = trainer.net
        out = [net.predict(X), net.predict(X[0].copy()), net.jacobian(X), net.accumulate(X, y)[1][0],
               net.accumulate(X, y, per_example=True)[1][0],
               net.accumulate(X, y, per_example=True)[1][1]]
        for step in (lambda: trainer.step(X, y), lambda: trainer.epoch(X, y, batch_size=1),    # noqa: B023
                     lambda: trainer.epoch(X, y, batch_size=8)):    # noqa: B023
            step()
            out.append(net.theta.copy())
        found += [each.tobytes() for each in out]
    return found


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in MODES, reason="fenv of glibc")
@pytest.mark.parametrize("n", range(3))
def test_fault_81_the_callers_rounding_changes_no_bit_and_comes_back(n):
    libm, mode, expected = ctypes.CDLL("libm.so.6"), MODES[platform.machine()][n], results(trainers())
    fresh = trainers()
    assert libm.fesetround(mode) == 0
    try:
        got = results(fresh)
        assert libm.fegetround() == mode
    finally:
        libm.fesetround(0)
    assert got == expected
    assert np.float64(5e-324) / 1 > 0       # the caller has its subnormal numbers
