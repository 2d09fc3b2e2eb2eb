"""What setup.cfg cannot say: links of the README that work on PyPI, and a small trained model inside the wheel."""

import configparser
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
MODEL = Path("saved_models", "names")


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


setup(long_description=long_description(), cmdclass={"build_py": BuildWithModel})
