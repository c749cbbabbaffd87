"""A librdkafka that can do SCRAM with Kafka 4, where the machine's cannot (before 2.6.1): the one in a wheel of PyPI."""
import glob
import os
import shutil
import subprocess
import tempfile

import confluent_kafka
from stack import ARTIFACTS

FIRST_GOOD = 0x020601ff
REQUIREMENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "librdkafka.txt")


def newer():
    """A folder for LD_LIBRARY_PATH; None: the machine's will do. Kept in the state's cache."""
    if confluent_kafka.libversion()[1] >= FIRST_GOOD:
        return None
    path = os.path.join(ARTIFACTS, "cache", "librdkafka")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path), prefix=".making.") as folder:
            make(folder, os.path.join(folder, "made"))
            os.rename(os.path.join(folder, "made"), path)
    return path


def make(folder, made):
    subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target",
                    os.path.join(folder, "wheel"), "-r", REQUIREMENTS], check=True)
    library, = glob.glob(os.path.join(folder, "wheel", "confluent_kafka.libs", "librdkafka-*.so.1"))
    os.makedirs(made)
    shutil.copy(library, os.path.join(made, "librdkafka.so.1"))
