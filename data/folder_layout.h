#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fulmar::data {

// The layouts of people's datasets, and the other files and folders among their pictures.

enum class Part { train, validation, test };

// The part of a dataset that a folder's name means: train, Training, seg_train, train_set,
// train2017; val, valid, validation; test, TESTING.
std::optional<Part> part_named(const std::string& name);

// Copies and leavings of editors, file managers and downloads, by a file's or folder's name: a.bak,
// a.tif~, ._a.tif, .DS_Store, Thumbs.db, @eaDir, a.crdownload, a.part.
bool is_leaving(const std::string& name);

// A run or several (config.json of ours or run.lock, in it or in seed-N), or a cache of decoded
// pictures: a folder that `fulmar train` made.
bool is_made_by_training(const std::filesystem::path& folder);

bool is_hidden(const std::filesystem::path& path);
// Errors count as no folder.
bool is_folder(const std::filesystem::path& path);
// The entries directly in a folder, in byte order of the names. Error(file): can't be read.
std::vector<std::filesystem::path> entries(const std::filesystem::path& folder);

// The folders within one that can be parts or classes: not hidden, and of neither kind above.
std::vector<std::filesystem::path> subfolders(const std::filesystem::path& folder);

struct Parts {
  std::optional<std::filesystem::path> train, validation, test;  // folders
  std::vector<std::string> faults;  // two folders for one part, a sentence each
};

// The parts that a folder holds; none where its folders are classes. A folder called train is one
// whatever lies beside it; others must hold folders, and either share one's name with another part
// or have only parts beside them.
Parts find_parts(const std::string& folder);

}  // namespace fulmar::data
