#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/picture/preprocess.h"

namespace fulmar::tools {

// Notes on the pictures that a model looks at, each kind once with the number of its pictures:
// remarks on their files, and how much of a picture the network doesn't see.
class PictureNotes {
 public:
  // `header`: the whole picture's. `preprocess`: the network's; nullptr where no network looks.
  void add(const std::string& path, const data::ImageHeader& header, const Preprocess* preprocess);
  std::vector<std::string> lines() const;

 private:
  using Extents = std::array<int64_t, 4>;  // width and height of what is seen, and of the picture
  struct Remark {
    std::string first;  // path
    int64_t pictures = 0;
  };

  std::map<Extents, int64_t> cut_;  // pictures
  std::map<std::string, Remark> remarks_;
};

}  // namespace fulmar::tools
