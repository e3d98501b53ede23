"""What Keras' ReduceLROnPlateau, EarlyStopping and ModelCheckpoint(save_best_only) do on made-up
series of a monitored number, as JSON. The learning rate is float64 here. Tried with keras 2.15.0.
"""

import json
import math
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

OUT = Path(__file__).resolve().parent.parent


class Optimizer:
    def __init__(self, rate):
        self.lr = tf.Variable(rate, dtype=tf.float64)


class Model:
    def __init__(self, rate):
        self.optimizer = Optimizer(rate)
        self.stop_training = False
        self.saved = []

    def get_weights(self):
        return []

    def set_weights(self, weights):
        pass


def reduce(series, rate, **options):
    model = Model(rate)
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", **options)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(series):
        callback.on_epoch_end(epoch, {"loss": value})
        rates.append(float(model.optimizer.lr.numpy()))
    return {"rate": rate, **options, "rates": rates}


def stop(series, **options):
    model = Model(1.0)
    callback = keras.callbacks.EarlyStopping(monitor="loss", restore_best_weights=True, **options)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(series):
        callback.on_epoch_end(epoch, {"loss": value})
        if model.stop_training:
            return {**options, "stopped_after": epoch + 1}
    return {**options, "stopped_after": 0}


def best(series, mode):
    op, value, saved = (np.less, math.inf, []) if mode == "min" else (np.greater, -math.inf, [])
    callback = keras.callbacks.ModelCheckpoint("unused", monitor="loss", mode=mode, save_best_only=True)
    assert callback.monitor_op is op
    for epoch, current in enumerate(series):
        # keras.callbacks.ModelCheckpoint._save_model without the writing
        if callback.monitor_op(current, callback.best):
            callback.best = current
            saved.append(epoch + 1)
    return {"mode": mode, "saved": saved}


rng = np.random.default_rng(3)
series = {
    "noisy": (np.exp(-np.arange(60) / 12) + 0.1 * rng.random(60)).round(4).tolist(),
    "flat": [1.0] * 30,
    "small steps": [1 - 5e-5 * i for i in range(40)],
    "rising": [0.1 * i for i in range(30)],
    "nan first": [math.nan, math.nan, 1.0, 0.9, 0.95],
    "with nan": [1.0, 0.9, math.nan, math.nan, 0.8, math.nan, 0.85, 0.7] + [math.nan] * 6,
}
cases = []
for name, values in series.items():
    case = {"name": name, "series": [None if math.isnan(v) else v for v in values], "reduce": [],
            "stop": [], "best": []}
    for mode in ("min", "max"):
        case["reduce"] += [
            reduce(values, 1e-3, mode=mode, factor=0.5, patience=10, min_delta=1e-4, cooldown=0, min_lr=0.0),
            reduce(values, 1e-3, mode=mode, factor=0.3, patience=2, min_delta=0.0, cooldown=3, min_lr=1e-4),
            reduce(values, 0.1, mode=mode, factor=0.1, patience=0, min_delta=1e-2, cooldown=1, min_lr=1e-5),
        ]
        case["stop"] += [
            stop(values, mode=mode, patience=20, min_delta=0.0),
            stop(values, mode=mode, patience=3, min_delta=0.01),
            stop(values, mode=mode, patience=0, min_delta=0.0),
        ]
        if not math.isnan(values[0]):  # Keras then saves nothing in that epoch
            case["best"].append(best(values, mode))
    cases.append(case)
text = json.dumps({"made with": "keras and tensorflow " + tf.__version__, "cases": cases})
(OUT / "callbacks_keras.json").write_text(text + "\n")
print(len(text), "bytes")
