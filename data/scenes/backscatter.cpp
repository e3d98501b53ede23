#include "data/scenes/backscatter.h"

#include <cmath>

namespace fulmar::data::scenes {

double cmod5n(double speed, double azimuth, double incidence) {
  // The report's coefficients c1 to c28.
  constexpr double c[] = {0,      -0.6878, -0.7957, 0.3380,  -0.1728, 0.0000,  0.0040,  0.1103,
                          0.0159, 6.7329,  2.7713,  -2.2885, 0.4971,  -0.7250, 0.0450,  0.0066,
                          0.3222, 0.0120,  22.7000, 2.0813,  3.0000,  8.3659,  -3.3428, 1.3236,
                          6.2437, 2.3893,  0.3249,  4.1590,  1.6930};
  const double v = speed, x = (incidence - 40) / 25;
  // B0: the mean over all directions
  const double a0 = c[1] + c[2] * x + c[3] * x * x + c[4] * x * x * x;
  const double a1 = c[5] + c[6] * x, a2 = c[7] + c[8] * x;
  const double gamma = c[9] + c[10] * x + c[11] * x * x;
  const double s0 = c[12] + c[13] * x, s = a2 * v;
  const auto sigmoid = [](double t) { return 1 / (1 + std::exp(-t)); };
  const double a3 = s < s0 ? sigmoid(s0) * std::pow(s / s0, s0 * (1 - sigmoid(s0))) : sigmoid(s);
  const double b0 = std::pow(a3, gamma) * std::pow(10, a0 + a1 * v);
  // B1: upwind against downwind
  const double b1 =
      (c[14] * (1 + x) - c[15] * v * (0.5 + x - std::tanh(4 * (x + c[16] + c[17] * v)))) /
      (1 + std::exp(0.34 * (v - c[18])));
  // B2: upwind against crosswind
  const double v0 = c[21] + c[22] * x + c[23] * x * x;
  const double d1 = c[24] + c[25] * x + c[26] * x * x, d2 = c[27] + c[28] * x;
  const double y0 = c[19], n = c[20];
  double y = v / v0 + 1;
  if (y < y0) y = y0 - (y0 - 1) / n + std::pow(y - 1, n) / (n * std::pow(y0 - 1, n - 1));
  const double b2 = (-d1 + d2 * y) * std::exp(-y);
  const double along = std::cos(azimuth * 0.017453292519943295);
  return b0 * std::pow(1 + b1 * along + b2 * (2 * along * along - 1), 1.6);
}

double cross_polarised(double speed) { return std::pow(10, (0.580 * speed - 35.652) / 10); }

}  // namespace fulmar::data::scenes
