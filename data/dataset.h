#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "data/class_names.h"
#include "data/scene_names.h"

namespace fulmar::data {

struct Sample {
  std::string path;   // of its first file, where it has several
  std::string name;   // path within the dataset's folder: "pos/cffe42_20191012.png"; of several
                      // files what they share: "pos/cffe42_20191012"
  int32_t label = 0;  // place in `classes`
  std::string scene;  // samples of one scene are related and stay together
  std::vector<std::string> label_files{};  // with a label for each pixel, by Dataset::layers
};

struct Dataset {
  std::string folder;
  std::vector<std::string> classes;  // names; the label of a class is its place
  std::vector<Sample> samples;       // by class, then by name
  BandFiles bands;                   // how files make up samples
  // Of labels by pixel: the names of a sample's label rasters. There is one class then, of all
  // samples. Empty: a label each.
  std::vector<std::string> layers{};

  std::vector<int32_t> labels() const;
  std::vector<int64_t> class_counts() const;
  // A hash of class names, sample names and labels, or label files' names. A resumed run asks for
  // the same.
  uint64_t fingerprint() const;
};

// The files and folders among the pictures that are no pictures of the dataset, by path.
struct LeftOut {
  std::vector<std::string> stray;   // no pictures, or outside the class folders
  std::vector<std::string> copies;  // leavings of editors, file managers and downloads
  std::vector<std::string> made;    // runs and caches of `fulmar train`
};

// The datasets that a folder holds, found by its layout: FOLDER/train/CLASS/*, with
// FOLDER/val/CLASS/* and FOLDER/test/CLASS/* where they are there (find_parts tells other names);
// or FOLDER/CLASS/*, then it is all for training. Classes are the folders' names in byte order;
// pictures may lie deeper; hidden files, files outside class folders and files that are no pictures
// are stray.
struct Folder : LeftOut {
  Dataset train;
  // Labels as in train; behind its classes those that only this part has. A class may lack
  // pictures.
  std::optional<Dataset> validation, test;
  std::string test_folder;  // "" where there is no test part
  // What a dataset can't have, with what is expected, a sentence each: no class folders, a single
  // class, a class without pictures to train on, one whose name is not UTF-8, classes that train
  // hasn't, folders that look like parts and can't be told, folders that can't be read, a file of a
  // sample without the others.
  std::vector<std::string> faults;
  // Remarks that stop nothing, a sentence each: a class that a part lacks, class names that are the
  // same but for case or the form of their accents.
  std::vector<std::string> notes;

  std::vector<const Dataset*> parts() const;  // train, validation, test: those that are there
};

// Error(file): not a folder.
Folder survey_folder(const std::string& folder, SceneRule rule = SceneRule::name,
                     const BandFiles& bands = {});

// For training: the training and the validation part. Does not look into the test part.
// Error(file) with the first fault.
Folder scan_folder(const std::string& folder, SceneRule rule = SceneRule::name,
                   const BandFiles& bands = {});

// For evaluation by a model with these classes, in their order: the test part where it is there,
// else FOLDER. A class may lack pictures. Error(file) where a class of the folder is not among
// them, or there is no picture at all.
Dataset scan_for_classes(const std::string& folder, std::span<const std::string> classes,
                         SceneRule rule = SceneRule::name, const BandFiles& bands = {},
                         LeftOut* left_out = nullptr);

// The classes that no sample has.
std::vector<std::string> absent_classes(const Dataset& dataset);

// Pictures for prediction: each path that is a file, and the pictures in each that is a folder, by
// name. Of samples of several files the first one's path, once for all that are named.
// Error(file): a path that is not there, a folder without pictures, a file that matches no pattern.
std::vector<std::string> list_pictures(std::span<const std::string> paths,
                                       const BandFiles& bands = {});

struct Split {
  Dataset train, held_out;
};

// Holds about `fraction` of every class out, whole scenes at a time, drawn by `seed`. As near to
// the fraction in each class as the scenes allow. Error(usage): a fraction outside (0, 1), or a
// class whose scenes are too few to have one on each side.
Split split_dataset(const Dataset& dataset, double fraction, uint64_t seed);

// "" where the share held out of each class is near the fraction asked for, else how far it is and
// why, a sentence.
std::string missed_share(const Split& split, double fraction);

}  // namespace fulmar::data
