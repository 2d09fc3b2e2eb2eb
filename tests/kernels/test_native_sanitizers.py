"""The native passes under the sanitizers of the compiler, with random sizes, without TensorFlow."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import native_core

from tfcharlm.kernels import native

SOURCES = Path(native.__file__).parent
COMPILER = shutil.which("gcc")


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs gcc, which has the sanitizers")
@pytest.mark.parametrize("variant", ["avx2_variant", "avx512_variant"])
def test_no_access_is_out_of_bounds_and_no_behaviour_undefined(tmp_path, variant):
    vectors = native.library().vectors
    if platform.machine() != "x86_64" or not vectors or (variant.startswith("avx512") and vectors != "AVX-512"):
        pytest.skip(f"needs a processor that can run {variant}")
    if not (SOURCES / "memory.c").exists():
        pytest.skip("the C files are not there; an installed package has only what was built from them")
    library = tmp_path / "core.so"
    sources = sorted(map(str, [*SOURCES.glob("variant*.c"), SOURCES / "memory.c"]))
    flags = ["-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wno-psabi"]
    flags.append("-DTFCHARLM_POISON")
    subprocess.run([COMPILER, *flags, "-shared", "-fPIC", "-o", library, *sources], check=True)
    runtime = subprocess.run(
        [COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = os.environ | {
        "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc",
        "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, native_core.__file__, library, variant, "300"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0 and found.stdout == "done\n", found.stderr[-3000:]
