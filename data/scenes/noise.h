#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

// Random fields of the plane, functions of a place and a seed alone.
namespace fulmar::data::scenes {

// Murmur3's finalizer over a lattice point.
inline uint32_t lattice_bits(uint32_t seed, int32_t x, int32_t y) {
  uint32_t h =
      seed ^ (static_cast<uint32_t>(x) * 0x9E3779B1u) ^ (static_cast<uint32_t>(y) * 0x85EBCA77u);
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ h >> 16;
}

// std::lerp is exact in cases that don't matter here, and slow.
inline double between(double a, double b, double t) { return a + (b - a) * t; }

// In [0, 1).
inline double lattice_uniform(uint32_t seed, int32_t x, int32_t y) {
  return lattice_bits(seed, x, y) * 0x1p-32;
}

// std::floor is a call where SSE4.1 can't be taken for granted.
inline int32_t floor_of(double x) {
  const auto towards_zero = static_cast<int32_t>(x);
  return towards_zero - (x < towards_zero);
}

inline double smoothstep(double low, double high, double x) {
  const double t = std::clamp((x - low) / (high - low), 0.0, 1.0);
  return t * t * (3 - 2 * t);
}

// Gradient noise (Perlin, "Improving noise", SIGGRAPH 2002) with a lattice of spacing 1: mean 0,
// within [-1, 1], standard deviation about 0.33.
inline double noise(uint32_t seed, double x, double y) {
  const int32_t column = floor_of(x), row = floor_of(y);
  const double u = x - column, v = y - row;
  const auto corner = [&](int dx, int dy) {
    constexpr double diagonal = 0.70710678118654752;
    constexpr double gradients[8][2] = {
        {1, 0},  {diagonal, diagonal},   {0, 1},  {-diagonal, diagonal},
        {-1, 0}, {-diagonal, -diagonal}, {0, -1}, {diagonal, -diagonal}};
    const auto& g = gradients[lattice_bits(seed, column + dx, row + dy) >> 29];
    return g[0] * (u - dx) + g[1] * (v - dy);
  };
  const auto fade = [](double t) { return t * t * t * (t * (t * 6 - 15) + 10); };
  const double a = between(corner(0, 0), corner(1, 0), fade(u));
  const double b = between(corner(0, 1), corner(1, 1), fade(u));
  return 1.4142135623730951 * between(a, b, fade(v));
}

// A sum of noises, each of half the wavelength and `gain` times the weight of the one before,
// divided so that its standard deviation stays about 0.33.
inline double fractal(uint32_t seed, double x, double y, int octaves, double gain = 0.5) {
  double sum = 0, weight = 1, squares = 0;
  for (int octave = 0; octave < octaves; octave++) {
    sum += weight * noise(seed + 0x51ED27u * static_cast<uint32_t>(octave), x, y);
    squares += weight * weight;
    weight *= gain;
    x = 2 * x + 0.37;
    y = 2 * y + 0.71;
  }
  return sum / std::sqrt(squares);
}

// Sharp crests, within [0, 1]: mountain ridges (Musgrave's ridged multifractal).
inline double ridges(uint32_t seed, double x, double y, int octaves) {
  double sum = 0, weight = 1, total = 0, above = 1;
  for (int octave = 0; octave < octaves; octave++) {
    const double n =
        1 - std::abs(noise(seed + 0x3C6EF3u * static_cast<uint32_t>(octave), x, y)) * 1.6;
    const double crest = std::max(0.0, n) * std::max(0.0, n);
    sum += weight * crest * above;
    total += weight;
    above = std::min(1.0, 2 * crest);
    weight *= 0.55;
    x = 2.03 * x + 0.37;
    y = 2.03 * y + 0.71;
  }
  return sum / total;
}

// The cell of jittered lattice points (Worley, "A cellular texture basis function", 1996) that a
// place lies in: distances to the nearest and to the second point, and the cell's random bits.
struct Cell {
  double nearest = 9, second = 9;
  uint32_t bits = 0;

  double border() const { return second - nearest; }  // 0 on a border between two cells
  double uniform() const { return bits * 0x1p-32; }
};

inline Cell cell_at(uint32_t seed, double x, double y) {
  const int32_t column = floor_of(x), row = floor_of(y);
  Cell cell;
  for (int32_t dy = -1; dy <= 1; dy++)
    for (int32_t dx = -1; dx <= 1; dx++) {
      const uint32_t bits = lattice_bits(seed, column + dx, row + dy);
      const double px = column + dx + 0.1 + 0.8 * ((bits & 0xffff) * 0x1p-16);
      const double py = row + dy + 0.1 + 0.8 * ((bits >> 16) * 0x1p-16);
      const double distance = std::hypot(px - x, py - y);
      if (distance < cell.nearest) {
        cell.second = cell.nearest;
        cell.nearest = distance;
        cell.bits = bits * 0x9E3779B1u;
      } else {
        cell.second = std::min(cell.second, distance);
      }
    }
  return cell;
}

}  // namespace fulmar::data::scenes
