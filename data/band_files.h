#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "data/image.h"

namespace fulmar::data {

// Samples of several files, each with some of the bands: "*_VV.tif,*_VH.tif". The files of a sample
// lie in one folder and share what the * stands for; their bands are put one behind the other in
// the order of the patterns. Without patterns every file is a sample; of sea-ice scenes, which are
// files with many variables, the bands that are taken can be named instead (ice_bands.h).
class BandFiles {
 public:
  BandFiles() = default;
  // Of patterns, or of words for bands of sea-ice scenes. Error(usage): a single pattern, one
  // without or with several *, with a folder, or a pattern twice; words that ice_bands() refuses.
  explicit BandFiles(std::vector<std::string> patterns);
  // "A,B,..."; "none" and "" are no patterns.
  static BandFiles parse(const std::string& list);

  bool empty() const { return patterns_.empty(); }
  const std::vector<std::string>& patterns() const { return patterns_; }
  // Of sea-ice scenes the names of the bands taken; empty where nobody named any.
  const std::vector<std::string>& of_scenes() const { return of_scenes_; }
  // What the constructor takes to be the same: patterns or bands.
  const std::vector<std::string>& words() const {
    return of_scenes_.empty() ? patterns_ : of_scenes_;
  }
  // What a picture to look at takes: of a sea-ice scene's bands the first three.
  BandFiles shown() const;
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
  std::vector<std::string> patterns_, of_scenes_;
};

// The picture of the sample that `path` belongs to, or a part of it as read_image() takes it.
// Error(file), also where a file is missing, or its size, type or nodata value is not that of the
// first.
Image read_sample(const std::string& path, const BandFiles& bands, const ImageLimits& limits = {},
                  const PicturePart& part = {});
ImageHeader probe_sample(const std::string& path, const BandFiles& bands,
                         const ImageLimits& limits = {});

}  // namespace fulmar::data
