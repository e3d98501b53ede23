#pragma once

#include <cstdint>
#include <vector>

#include "data/scenes/parameters.h"

namespace fulmar::data::scenes {

enum class Cover : uint8_t { none, water, ice, land };  // none: outside the swath

// The wind over a scene's water and ice, row by row; 0 elsewhere.
struct Wind {
  std::vector<float> speed;      // m/s at 10 m, streaks included
  std::vector<float> direction;  // where it blows to, radians from x towards y
  std::vector<float> rain;       // 0 none to 1
};

// `cover`: of each pixel. In the lee of land the wind is weaker.
Wind wind_of(const SceneParameters& scene, const std::vector<Cover>& cover);

}  // namespace fulmar::data::scenes
