"""Classification metrics of scikit-learn on small made-up predictions, as JSON.

Tried with scikit-learn 1.9.1, numpy 2.4.6.
"""

import json
import warnings
from pathlib import Path

import numpy as np
from sklearn import calibration, metrics

OUT = Path(__file__).resolve().parent.parent
rng = np.random.default_rng(7)


def draw(n, labels, classes, steps, sharpness):
    """Probabilities that favour the label, in float32, rounded to `steps` levels so that ties occur."""
    y = rng.choice(labels, n)
    logits = rng.normal(size=(n, classes)) + sharpness * np.eye(classes)[y]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return y, (np.round(p * steps) / steps).astype(np.float32)


def report(y, called, classes):
    p, r, f, s = metrics.precision_recall_fscore_support(y, called, labels=range(classes), zero_division=0)
    averages = {}
    for how in ("macro", "weighted"):
        a = metrics.precision_recall_fscore_support(y, called, labels=range(classes), average=how,
                                                    zero_division=0)
        averages[how] = [float(v) for v in a[:3]]
    return {
        "confusion": metrics.confusion_matrix(y, called, labels=range(classes)).ravel().tolist(),
        "accuracy": float(metrics.accuracy_score(y, called)),
        "precision": p.tolist(), "recall": r.tolist(), "f1": f.tolist(), "support": s.tolist(),
        **averages,
    }


def number(value):
    """JSON has no NaN: what is undefined is null."""
    return None if np.isnan(value) else float(value)


def reliability(true, p, squares):
    """`true`: 1 where what had probability p came true; `squares`: of each sample's error."""
    edges = np.linspace(0, 1, 11)
    p = p.astype(np.float64)
    bins = np.searchsorted(edges[1:-1], p)
    frequency, mean = calibration.calibration_curve(true, p, n_bins=10)
    count = np.bincount(bins, minlength=10)
    used = np.flatnonzero(count)
    by_hand = [(true[bins == b].mean(), p[bins == b].mean()) for b in used]
    assert np.allclose(by_hand, np.stack([frequency, mean], 1), atol=1e-15)
    return {"counts": count.tolist(), "used": used.tolist(), "probability": mean.tolist(),
            "frequency": frequency.tolist(),
            "ece": float((count[used] / len(p) * np.abs(mean - frequency)).sum()),
            "brier": float(squares.mean())}


def curves(y, score):
    fpr, tpr, thresholds = metrics.roc_curve(y, score, drop_intermediate=False)
    precision, recall, pr_thresholds = metrics.precision_recall_curve(y, score)
    assert (pr_thresholds[::-1] == thresholds[1:]).all() and np.allclose(recall[-2::-1], tpr[1:])
    return {"thresholds": thresholds[1:].tolist(), "fpr": fpr[1:].tolist(), "tpr": tpr[1:].tolist(),
            "precision": precision[-2::-1].tolist()}


def binary(name, n, steps, sharpness, threshold, labels=(0, 1)):
    y, p = draw(n, labels, 2, steps, sharpness)
    p[:, 0] = 1 - p[:, 1]
    score = p[:, 1].astype(np.float64)
    precision, recall, _ = metrics.precision_recall_curve(y, score)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    return {
        "name": name, "classes": 2, "labels": y.tolist(), "probabilities": p.ravel().tolist(),
        "threshold": threshold, **report(y, (score >= threshold).astype(int), 2),
        "roc_auc": float(metrics.roc_auc_score(y, score)),
        "pr_auc": float(metrics.average_precision_score(y, score)),
        "best_f1": float(f1.max()),
        "curves": curves(y, score),
        "calibration": reliability(y, p[:, 1], (score - y) ** 2),
        "brier_score_loss": float(metrics.brier_score_loss(y, score)),
    }


def several(name, n, classes, steps, sharpness, labels):
    y, p = draw(n, labels, classes, steps, sharpness)
    present = [k for k in range(classes) if (y == k).any()]
    exact, one_hot = p.astype(np.float64), np.eye(classes)[y]
    areas = [(metrics.roc_auc_score(y == k, p[:, k]), metrics.average_precision_score(y == k, p[:, k]))
             if k in present else (np.nan, np.nan) for k in range(classes)]
    result = {
        "name": name, "classes": classes, "labels": y.tolist(), "probabilities": p.ravel().tolist(),
        "threshold": 0.5, **report(y, p.argmax(1), classes),
        # One class against the rest, mean over the classes that occur.
        "roc_auc": float(np.mean([metrics.roc_auc_score(y == k, p[:, k]) for k in present])),
        "pr_auc": float(np.mean([metrics.average_precision_score(y == k, p[:, k]) for k in present])),
        "areas": [[number(roc), number(pr)] for roc, pr in areas],
        "calibration": reliability((p.argmax(1) == y).astype(int), p.max(1),
                                   ((exact - one_hot) ** 2).sum(1)),
    }
    if len(present) == classes:
        exact /= exact.sum(1, keepdims=True)
        if np.allclose(p.sum(1), 1):
            ovr = metrics.roc_auc_score(y, exact, multi_class="ovr", average="macro")
            assert abs(ovr - result["roc_auc"]) < 1e-12, (ovr, result["roc_auc"])
            brier = metrics.brier_score_loss(y, exact, labels=range(classes))
            assert abs(brier - result["calibration"]["brier"]) < 1e-7, brier
    return result


warnings.simplefilter("error")
cases = [
    binary("no ties", 97, 1 << 20, 1.0, 0.5),
    binary("many ties", 120, 8, 1.0, 0.5),
    binary("other threshold", 60, 16, 0.5, 0.3),
    binary("separable", 40, 1 << 20, 30.0, 0.5),
    binary("worse than chance", 50, 32, -2.0, 0.5),
    several("three classes", 90, 3, 1 << 20, 1.0, [0, 1, 2]),
    several("ten classes with ties", 200, 10, 16, 2.0, list(range(10))),
    several("a class without samples", 50, 4, 64, 1.0, [0, 1, 3]),
]
text = json.dumps({"made with": "scikit-learn 1.9.1, numpy 2.4.6", "cases": cases})
(OUT / "metrics_sklearn.json").write_text(text + "\n")
print(len(text), "bytes")
