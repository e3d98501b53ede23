"""Five AdamW steps on 12 elements in Keras' two forms, float64: rows of ops_torch's table."""

import numpy as np
from keras_quiet import VERSIONS, exact, tf

import tensorflow_addons as tfa
from tensorflow import keras

from common import signed, write

LR, BETAS, EPSILON = 1e-3, (0.9, 0.999), 1e-7
tensors, cases = {}, {}


def steps(name, optimizer, decay, scaled):
    w0 = signed("adamw/w0", 12)
    g = signed("adamw/g", 5, 12) * 10.0 ** -np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 8, 9])
    w, after = tf.Variable(w0), []
    for row in g:
        optimizer.apply_gradients([(tf.constant(row), w)])
        after.append(w.numpy())
    if hasattr(optimizer, "get_slot"):
        m, v = optimizer.get_slot(w, "m"), optimizer.get_slot(w, "v")
    else:
        m, v = optimizer._momentums[0], optimizer._velocities[0]
    rows = {"w0": w0, "g": g, "w": np.array(after), "m": m.numpy(), "v": v.numpy()}
    tensors.update({f"{name}/{role}": value for role, value in rows.items()})
    cases[name] = {
        "op": "adamw",
        "form": "keras" if scaled else "addons",
        "lr": LR,
        "beta1": BETAS[0],
        "beta2": BETAS[1],
        "epsilon": EPSILON,
        "decay": decay,
        "decay_scaled_by_lr": scaled,
        "epsilon_placement": "keras",
    }


keras.backend.set_floatx("float64")
for name, decay in (("adamw_keras", 0.0), ("adamw_keras_decay", 1e-2)):
    optimizer = keras.optimizers.AdamW(
        LR, exact(decay), exact(BETAS[0]), exact(BETAS[1]), EPSILON, jit_compile=False
    )
    steps(name, optimizer, decay, True)
for name, decay in (("adamw_addons", 0.0), ("adamw_addons_decay", 1e-4)):
    optimizer = tfa.optimizers.AdamW(
        weight_decay=lambda decay=decay: exact(decay),
        learning_rate=lambda: exact(LR),
        beta_1=lambda: exact(BETAS[0]),
        beta_2=lambda: exact(BETAS[1]),
        epsilon=EPSILON,
    )
    steps(name, optimizer, decay, False)
write("ops_adamw_keras.safetensors", tensors, __file__, VERSIONS, cases=cases)
