"""Imports TensorFlow single-threaded and without its start-up notes; oneDNN off: plain kernels."""

import importlib.metadata
import os
import warnings

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
warnings.filterwarnings("ignore", message=".*TensorFlow Addons.*")

import tensorflow as tf  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

VERSIONS = {
    name: importlib.metadata.version(name)
    for name in ("tensorflow-cpu", "keras", "tensorflow-addons", "pillow")
}


def exact(value):
    """A hyperparameter that Keras would otherwise round to float32."""
    return tf.constant(value, tf.float64)
