#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "data/image.h"

namespace fulmar::data {

// Samples of several files, each with some of the bands: "*_VV.tif,*_VH.tif". The files of a sample
// lie in one folder and share what the * stands for; their bands are put one behind the other in
// the order of the patterns. Without patterns every file is a sample.
class BandFiles {
 public:
  BandFiles() = default;
  // Error(usage): a single pattern, one without or with several *, with a folder, or a
  // pattern twice.
  explicit BandFiles(std::vector<std::string> patterns);
  // "A,B,..."; "none" and "" are no patterns.
  static BandFiles parse(const std::string& list);

  bool empty() const { return patterns_.empty(); }
  const std::vector<std::string>& patterns() const { return patterns_; }
  std::string to_string() const;  // as parse() takes it; "none" without patterns

  struct Match {
    size_t band;       // of the patterns
    std::string stem;  // what the * stands for
  };
  // The pattern that the file's name matches, the longest where several match.
  std::optional<Match> match(const std::string& path) const;
  // All files of the sample that a file belongs to, whether they are there or not; the file alone
  // without patterns, or where none matches.
  std::vector<std::string> files_of(const std::string& path) const;
  // The path without the pattern's own letters: "folder/a" of "folder/a_VH.tif".
  std::string name_of_sample(const std::string& path) const;

 private:
  std::vector<std::string> patterns_;
};

// The picture of the sample that `path` belongs to, or a part of it as read_image() takes it.
// Error(file), also where a file is missing, or its size, type or nodata value is not that of the
// first.
Image read_sample(const std::string& path, const BandFiles& bands, const ImageLimits& limits = {},
                  const PicturePart& part = {});
ImageHeader probe_sample(const std::string& path, const BandFiles& bands,
                         const ImageLimits& limits = {});

}  // namespace fulmar::data
