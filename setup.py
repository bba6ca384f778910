"""The one thing setup.cfg cannot say: a new folder under kernels/ is packaged by being there."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["minialex", "minialex.*"]),
        *(f"minialex.{name}" for name in find_packages(include=["kernels", "kernels.*"])),
    ],
)
