"""Is the installed fastbp complete? It must have every instruction set of its architecture; those of this processor
must pass the selftest. It needs only fastbp."""

import os
import platform
import subprocess
import sys

import fastbp

EXPECTED = ("avx512", "avx2", "baseline") if platform.machine() in ("x86_64", "AMD64") else ("baseline",)
SELFTEST = """
import fastbp
report = fastbp.selftest()
print(report["instruction set"], round(report["float32"], 1), round(report["float64"], 1))
"""


def main() -> None:
    """Print a line for each instruction set, with the largest differences of both dtypes in units of eps."""
    assert "site-packages" in fastbp.__file__, f"this is not an installed fastbp: {fastbp.__file__}"
    assert fastbp._kernels.built == EXPECTED, f"the build has {fastbp._kernels.built}; it must have {EXPECTED}"
    for name in EXPECTED:
        if name == fastbp._kernels.isa:
            report = fastbp.selftest()
            said = f"{name} {report['float32']:.1f} {report['float64']:.1f}"
        elif name in fastbp._kernels.available:
            said = subprocess.run([sys.executable, "-c", SELFTEST], env={**os.environ, "FASTBP_ISA": name}, check=True,
                                  capture_output=True, text=True).stdout.strip()
        else:
            said = f"{name}: only built, this processor does not have it"
        print(said)


if __name__ == "__main__":
    main()
