#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/preprocess.h"

namespace fulmar::tools {

// What a user is told of pictures that a model looks at, once for each kind with their number:
// remarks on their files, and how much of them the network doesn't see.
class PictureNotes {
 public:
  // `preprocess`: nullptr where no network looks. `header`: of the whole picture, which fits.
  void add(const std::string& path, const data::ImageHeader& header, const Preprocess* preprocess);
  std::vector<std::string> lines() const;
  void say() const;  // as notes

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
