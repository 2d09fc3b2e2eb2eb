"""What setup.cfg cannot say: native kernels, links of the README that work on PyPI, a model inside the wheel."""

import configparser
import re
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
MODEL = Path("saved_models", "names")
NATIVE = Path("tfcharlm", "kernels", "native")


class BuildWithModel(build_py):
    """Copies the model to tfcharlm/pretrained/names. An editable installation finds it in saved_models/."""

    def run(self):
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "tfcharlm", "pretrained", MODEL.name)
            shutil.copytree(HERE / MODEL, target, dirs_exist_ok=True)


def long_description():
    """The README, whose links are relative, with links to the repository."""
    settings = configparser.ConfigParser()
    settings.read(HERE / "setup.cfg")
    repository = settings["metadata"]["url"]
    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\g<1>{repository}/raw/main/", text)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)", rf"\g<1>{repository}/blob/main/", text)


def native_kernels():
    """The native kernels. It calls nothing of Python, so one binary is for every version of it."""
    return Extension(
        "tfcharlm.kernels.native.recurrence",
        sources=sorted(map(str, NATIVE.glob("*.c"))),
        depends=sorted(map(str, NATIVE.glob("*.h"))),
        # Vectors in arguments are of functions that are inlined, so their binary interface does not matter.
        extra_compile_args=["-std=gnu11", "-O3", "-fvisibility=hidden", "-Wno-psabi", "-g0"],
        libraries=["dl", "pthread"],
        py_limited_api=True,
        # Without a C compiler, the pure kernels do the work.
        optional=True,
    )


setup(
    long_description=long_description(),
    cmdclass={"build_py": BuildWithModel},
    ext_modules=[native_kernels()],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
