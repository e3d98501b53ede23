#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/band_files.h"

namespace fulmar::data {

struct Sample {
  std::string path;   // of its first file, where it has several
  std::string name;   // path within the dataset's folder: "pos/cffe42_20191012.png"; of several
                      // files what they share: "pos/cffe42_20191012"
  int32_t label = 0;  // place in `classes`
  std::string scene;  // samples of one scene are related and stay together
};

struct Dataset {
  std::string folder;
  std::vector<std::string> classes;  // names; the label of a class is its place
  std::vector<Sample> samples;       // by class, then by name
  BandFiles bands;                   // how files make up samples

  std::vector<int32_t> labels() const;
  std::vector<int64_t> class_counts() const;
  // Of class names, sample names and labels: what a resumed run must find again.
  uint64_t fingerprint() const;
};

// Which scene a picture belongs to: the file's name before the first '_' (without one the picture
// is a scene of its own), or every picture is its own.
enum class SceneRule { prefix, file };

// The datasets that a folder holds, found by its layout: FOLDER/train/CLASS/* and, if there,
// FOLDER/test/CLASS/*; or FOLDER/CLASS/*, then `test` is empty. Classes are the folders' names in
// byte order; pictures may lie deeper; hidden files, files outside class folders and files that are
// no pictures are stray.
struct Folder {
  Dataset train;
  std::optional<Dataset> test;     // labels as in train; behind its classes those only test has
  std::vector<std::string> stray;  // paths
  // What a dataset can't have, with what is expected, a sentence each: no class folders, a single
  // class, a class without pictures, one whose name is not UTF-8, classes of train/ and test/ that
  // differ, folders that can't be read, a file of a sample without the others.
  std::vector<std::string> faults;
};

// Error(file): not a folder.
Folder survey_folder(const std::string& folder, SceneRule rule = SceneRule::prefix,
                     const BandFiles& bands = {});

// For training: FOLDER/train, or FOLDER where that is not there. Does not look at FOLDER/test.
// Error(file) with the first fault.
Folder scan_folder(const std::string& folder, SceneRule rule = SceneRule::prefix,
                   const BandFiles& bands = {});

// For evaluation by a model with these classes, in their order: FOLDER/test where it is there, else
// FOLDER. Error(file) where a class of the folder is not among them, or one of them is missing.
Dataset scan_for_classes(const std::string& folder, std::span<const std::string> classes,
                         SceneRule rule = SceneRule::prefix, const BandFiles& bands = {});

// Pictures for prediction: each path that is a file, and the pictures in each that is a folder, by
// name. Of samples of several files the first one's path, once for all that are named.
// Error(file): a path that is not there, a folder without pictures, a file that matches no pattern.
std::vector<std::string> list_pictures(std::span<const std::string> paths,
                                       const BandFiles& bands = {});

// Whether a name can stand in JSON, and so in a model file.
bool is_utf8(std::string_view text);

struct Split {
  Dataset train, validation;
};

// Holds about `fraction` of every class out, whole scenes at a time, drawn by `seed`. As near to
// the fraction in each class as the scenes allow. Error(usage): a fraction outside (0, 1), or a
// class whose scenes are too few to have one on each side.
Split split_dataset(const Dataset& dataset, double fraction, uint64_t seed);

}  // namespace fulmar::data
