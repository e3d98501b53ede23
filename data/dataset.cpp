#include "data/dataset.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "data/image.h"
#include "kernels/error.h"
#include "kernels/fnv1a.h"

namespace fulmar::data {

namespace fs = std::filesystem;

namespace {

bool is_hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

// What lies directly in a folder, in byte order of the names.
std::vector<fs::path> entries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> paths;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) paths.push_back(it->path());
  if (error)
    file_error(folder.string() + ": the folder can't be read: " + error.message() +
               "; check the path and its permissions");
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// All files under a folder. Links to folders are followed, but not in circles.
void collect_files(const fs::path& folder, int depth, std::vector<std::string>& pictures,
                   std::vector<std::string>& stray) {
  constexpr int max_depth = 16;
  if (depth > max_depth)
    file_error(folder.string() + ": folders are nested more than " + std::to_string(max_depth) +
               " deep; is there a link to a folder above?");
  for (const fs::path& path : entries(folder)) {
    if (!is_hidden(path) && is_folder(path))
      collect_files(path, depth + 1, pictures, stray);
    else if (!is_hidden(path) && looks_like_image(path.string()))
      pictures.push_back(path.string());
    else
      stray.push_back(path.string());
  }
}

std::string scene_of(const std::string& name, SceneRule rule) {
  const std::string file = fs::path(name).filename().string();
  const size_t end = file.find('_');
  return rule == SceneRule::file || end == std::string::npos ? name : file.substr(0, end);
}

const char* const layout =
    "expected are pictures in a folder for each class (FOLDER/neg/*.png, FOLDER/pos/*.png), or "
    "such folders in FOLDER/train and FOLDER/test";

Dataset scan_classes(const std::string& folder, SceneRule rule, std::vector<std::string>& stray) {
  Dataset dataset;
  dataset.folder = folder;
  for (const fs::path& path : entries(folder)) {
    if (is_hidden(path) || !is_folder(path)) {
      stray.push_back(path.string());
      continue;
    }
    std::vector<std::string> pictures;
    collect_files(path, 0, pictures, stray);
    if (pictures.empty())
      file_error(path.string() + ": the class folder holds no pictures (" + image_formats() +
                 "); add some, or remove the folder");
    for (std::string& picture : pictures) {
      Sample sample;
      sample.name = fs::path(picture).lexically_relative(folder).generic_string();
      sample.path = std::move(picture);
      sample.label = static_cast<int32_t>(dataset.classes.size());
      sample.scene = scene_of(sample.name, rule);
      dataset.samples.push_back(std::move(sample));
    }
    dataset.classes.push_back(path.filename().string());
  }
  if (dataset.classes.empty())
    file_error(folder + ": the folder holds no class folders; " + layout);
  return dataset;
}

void require_folder(const std::string& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) file_error(folder + ": no such folder; check the path");
  if (!is_folder(folder)) file_error(folder + ": not a folder; " + layout);
}

// Makes `classes` the dataset's; `whose` names them in messages.
void adopt_classes(Dataset& dataset, std::span<const std::string> classes,
                   const std::string& whose) {
  std::vector<int32_t> place;
  for (const std::string& name : dataset.classes) {
    const auto at = std::find(classes.begin(), classes.end(), name);
    if (at == classes.end())
      file_error(dataset.folder + ": the class '" + name + "' is not one of " + whose +
                 "; rename or remove its folder");
    place.push_back(static_cast<int32_t>(at - classes.begin()));
  }
  for (const std::string& name : classes)
    if (std::find(dataset.classes.begin(), dataset.classes.end(), name) == dataset.classes.end())
      file_error(dataset.folder + ": there is no class '" + name + "', which is one of " + whose +
                 "; add its folder with pictures");
  for (Sample& sample : dataset.samples) sample.label = place[static_cast<size_t>(sample.label)];
  std::stable_sort(dataset.samples.begin(), dataset.samples.end(),
                   [](const Sample& a, const Sample& b) { return a.label < b.label; });
  dataset.classes.assign(classes.begin(), classes.end());
}

}  // namespace

std::vector<int32_t> Dataset::labels() const {
  std::vector<int32_t> result;
  for (const Sample& sample : samples) result.push_back(sample.label);
  return result;
}

std::vector<int64_t> Dataset::class_counts() const {
  std::vector<int64_t> counts(classes.size());
  for (const Sample& sample : samples) counts[static_cast<size_t>(sample.label)]++;
  return counts;
}

uint64_t Dataset::fingerprint() const {
  uint64_t hash = fnv1a("");
  const auto add = [&](const std::string& text) {
    hash = (fnv1a(text, hash) ^ 0x100) * 1099511628211u;  // an end that no letter is
  };
  for (const std::string& name : classes) add(name);
  for (const Sample& sample : samples) add(sample.name + ":" + std::to_string(sample.label));
  return hash;
}

Folder scan_folder(const std::string& folder, SceneRule rule) {
  require_folder(folder);
  Folder found;
  const fs::path train = fs::path(folder) / "train", test = fs::path(folder) / "test";
  const bool parted = is_folder(train);
  found.train = scan_classes(parted ? train.string() : folder, rule, found.stray);
  if (parted && is_folder(test)) {
    found.test = scan_classes(test.string(), rule, found.stray);
    adopt_classes(*found.test, found.train.classes, "the classes of " + train.string());
  }
  if (parted)
    for (const fs::path& path : entries(folder))
      if (path != train && path != test) found.stray.push_back(path.string());
  if (found.train.classes.size() < 2)
    file_error(found.train.folder + ": there is only the class '" + found.train.classes[0] +
               "', and telling apart takes two or more; " + layout);
  return found;
}

Dataset scan_for_classes(const std::string& folder, std::span<const std::string> classes,
                         SceneRule rule) {
  require_folder(folder);
  const fs::path test = fs::path(folder) / "test";
  const bool parted =
      is_folder(test) && std::find(classes.begin(), classes.end(), "test") == classes.end();
  std::vector<std::string> stray;
  Dataset dataset = scan_classes(parted ? test.string() : folder, rule, stray);
  adopt_classes(dataset, classes, "the model's classes");
  return dataset;
}

std::vector<std::string> list_pictures(std::span<const std::string> paths) {
  std::vector<std::string> all;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::exists(path, error)) file_error(path + ": no such file or folder; check the path");
    if (!is_folder(path)) {
      all.push_back(path);
      continue;
    }
    std::vector<std::string> pictures, stray;
    collect_files(path, 0, pictures, stray);
    if (pictures.empty())
      file_error(path + ": the folder holds no pictures (" + image_formats() + "); check the path");
    all.insert(all.end(), pictures.begin(), pictures.end());
  }
  return all;
}

}  // namespace fulmar::data
