"""Metrics of scikit-learn on made-up fields of pixels with ignored ones, pooled over several, as
JSON: what model/confusion.h computes from counts alone.

Tried with scikit-learn 1.9.1, numpy 2.4.6.
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn import metrics

OUT = Path(__file__).resolve().parent.parent
IGNORE = 255
rng = np.random.default_rng(11)


def case(classes, fields, right, missing=()):
    """Fields of different sizes; a call is right with this probability; some classes never occur."""
    present = [k for k in range(classes) if k not in missing]
    labels, called = [], []
    for side in fields:
        t = rng.choice(present, (side, side))
        y = np.where(rng.random(t.shape) < right, t, rng.choice(present, t.shape))
        t = np.where(rng.random(t.shape) < 0.3, IGNORE, t)
        labels.append(t.ravel())
        called.append(y.ravel())
    t, y = np.concatenate(labels), np.concatenate(called)
    t, y = t[t != IGNORE], y[t != IGNORE]
    return {
        "classes": classes,
        "confusion": metrics.confusion_matrix(t, y, labels=range(classes)).ravel().tolist(),
        "accuracy": float(metrics.accuracy_score(t, y)),
        "macro_f1": float(metrics.f1_score(t, y, average="macro")),
        "weighted_f1": float(metrics.f1_score(t, y, average="weighted")),
        "miou": float(metrics.jaccard_score(t, y, average="macro")),
        "iou": metrics.jaccard_score(t, y, labels=present, average=None).tolist(),
        "present": present,
        "r2": float(metrics.r2_score(t, y)),
        "rmse": float(np.sqrt(metrics.mean_squared_error(t, y))),
    }


def main():
    cases = [
        case(2, [9, 4], 0.9),
        case(7, [30, 12, 21], 0.7),
        case(12, [40, 33], 0.5, missing=(3, 11)),
        case(8, [25], 1.0, missing=(0,)),
    ]
    made = {"script": Path(__file__).name,
            "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__}}
    (OUT / "pixels_sklearn.json").write_text(json.dumps({**made, "cases": cases}, indent=1) + "\n")


main()
