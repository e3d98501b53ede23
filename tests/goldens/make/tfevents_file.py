"""Event files in both directions between this project and TensorFlow/TensorBoard.

Writes tensorflow.tfevents, which the C++ reader is tested on, and reads fulmar.tfevents, which
tests/tfevents_test.cpp compares with what the C++ writer makes. Tried with tensorflow-cpu 2.15.1 and
tensorboard 2.15.2.
"""

import os
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorflow.core.util import event_pb2

OUT = Path(__file__).resolve().parent.parent

path = OUT / "tensorflow.tfevents"
with tf.io.TFRecordWriter(str(path)) as writer:
    writer.write(event_pb2.Event(wall_time=1.5, file_version="brain.Event:2").SerializeToString())
    for step, loss in ((5, 0.75), (6, 0.5)):
        value = tf.compat.v1.Summary.Value(tag="loss", simple_value=loss)
        summary = tf.compat.v1.Summary(value=[value])
        writer.write(event_pb2.Event(wall_time=2.5, step=step, summary=summary).SerializeToString())

# TensorBoard looks for "tfevents" in the names of a folder's files.
with tempfile.TemporaryDirectory() as folder:
    shutil.copy(OUT / "fulmar.tfevents", os.path.join(folder, "events.out.tfevents.1700000000.fulmar"))
    read = EventAccumulator(folder).Reload()
    assert set(read.Tags()["scalars"]) == {"train/loss", "train/accuracy", "größe"}, read.Tags()
    loss = [(e.wall_time, e.step, e.value) for e in read.Scalars("train/loss")]
    assert loss == [(1700000001.0, 1, 0.625), (1700000002.0, 300, 0.25)], loss
    other = [(e.wall_time, e.step, e.value) for e in read.Scalars("größe")]
    assert other == [(1700000003.25, 1 << 40, -1.5)], other
    assert read.file_version == 2.0, read.file_version
records = list(tf.compat.v1.io.tf_record_iterator(str(OUT / "fulmar.tfevents")))  # checks the CRCs
assert len(records) == 4
print("TensorBoard reads the project's file")
