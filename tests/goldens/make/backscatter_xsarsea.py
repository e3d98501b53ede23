"""CMOD5.N of xsarsea, as JSON rows of incidence, azimuth (degrees), wind speed (m/s) and sigma0.

Tried with xsarsea 2.1.2, numpy 2.4.6 (`pip install -r requirements-xsarsea.txt`).
"""

import json
from pathlib import Path

from xsarsea.windspeed.models import get_model

OUT = Path(__file__).resolve().parent.parent
model = get_model("gmf_cmod5n")
rows = []
for incidence in (18.0, 25.0, 35.5, 46.0, 60.0):
    for azimuth in (0.0, 45.0, 90.0, 130.0, 180.0):
        for speed in (0.7, 3.0, 8.0, 15.0, 28.0):
            rows.append([incidence, azimuth, speed, float(model(incidence, speed, azimuth))])
text = json.dumps(rows).replace("], [", "],\n [")
(OUT / "backscatter_xsarsea.json").write_text(text + "\n")
