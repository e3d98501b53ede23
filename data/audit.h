#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"
#include "data/picture_errors.h"
#include "kernels/thread_pool.h"

namespace fulmar::data {

// The faults and facts of a dataset that a user must know before training on it.
struct Audit {
  using Paths = std::vector<std::string>;
  struct Class {
    std::string name;
    int64_t pictures = 0;
    double black_fraction = 0;    // mean over its readable pictures; black: all bands are 0
    double missing_fraction = 0;  // likewise; missing: a band is NaN, infinite or nodata
    int64_t wholly_black = 0;     // pictures in which every pixel is black or missing
    int64_t constant = 0;         // pictures that are constant but for noise
    int64_t scenes = 0;
  };
  struct Part {
    std::string name;  // "train", "validation", "test"
    std::string folder;
    std::vector<Class> classes;
  };
  struct Unreadable {
    std::string path, reason;  // the reason begins with the path
  };
  struct Format {
    ImageHeader header;
    int64_t pictures = 0;
  };
  // Over all pictures of one type and number of bands, of what isn't missing.
  struct Band {
    int64_t values = 0;
    double low = 0, high = 0, mean = 0, deviation = 0;
  };
  struct Values {
    DType type;
    std::vector<Band> bands;
  };
  struct SharedScene {
    std::string scene;
    std::vector<Paths> parts;  // as `parts`, empty where it isn't
  };

  std::vector<Part> parts;                     // as Folder::parts
  std::vector<Format> formats;                 // extents, bands and types, the most frequent first
  std::vector<Values> values;                  // by type and number of bands
  int64_t dropped_alpha = 0;                   // pictures whose transparency is left out
  std::string scenes;                          // of the training part, as describe_scenes
  Paths constant;                              // constant but for noise, such as tiles without data
  double constant_low = 0, constant_high = 0;  // their least and greatest values

  // Faults.
  std::vector<std::string> structure;  // of the folders, as Folder::faults
  std::vector<Unreadable> unreadable;
  std::vector<Paths> two_labels;     // equal pictures in different classes
  std::vector<Paths> in_both_parts;  // equal pictures in two parts
  std::vector<SharedScene> shared_scenes;
  bool mixed_types = false;   // 8 bits, 16 bits and float32, which don't go together
  bool mixed_bands = false;   // counts of bands that can't be made one
  bool mixed_nodata = false;  // nodata values that differ; none is as good as 0

  // Notes.
  std::vector<Paths> repeated;  // equal pictures in one class of one part
  LeftOut left_out;
  std::vector<std::string> notes;        // of the folders, as Folder::notes
  std::map<std::string, Paths> remarks;  // on files (ImageHeader::remarks): which

  bool has_faults() const;
};

// Reads every picture of the folder. Pictures are equal when their decoded pixels are, grey ones
// also when stored as RGB; they are compared by a 128-bit hash. A picture is constant but for noise
// where the values of each band that aren't missing are at most 2 apart, of float32 at most 1e-5 of
// the greatest magnitude.
Audit audit_folder(const Folder& folder, const ImageLimits& limits, ThreadPool& pool,
                   const Progress& progress = {});

// The same of pictures that `read` gives, by part (of Folder::parts) and number within it; it is
// called from several threads.
using ReadPicture = std::function<Image(size_t part, int64_t sample)>;
Audit audit_pictures(const Folder& folder, const ReadPicture& read, ThreadPool& pool,
                     const Progress& progress = {});

}  // namespace fulmar::data
