#include "data/dataset.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
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

// Does `work`, and keeps what it says about a file or folder that can't be used.
template <class Work>
void keep_fault(std::vector<std::string>& faults, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) throw;
    faults.emplace_back(error.what());
  }
}

void throw_first(const std::vector<std::string>& faults) {
  if (faults.empty()) return;
  std::string more;
  if (faults.size() > 1)
    more = " (and " + std::to_string(faults.size() - 1) +
           " more; 'fulmar check' tells all that is wrong with a dataset)";
  file_error(faults.front() + more);
}

// Leaves the first file of each sample, in the order of the samples' names. The others must be
// there; files of no sample are stray.
void keep_first_files(std::vector<std::string>& pictures, const BandFiles& bands,
                      std::vector<std::string>& stray, std::vector<std::string>& faults) {
  if (bands.empty()) return;
  const std::set<std::string> all(pictures.begin(), pictures.end());
  std::map<std::string, std::string> firsts;  // by name
  for (const std::string& picture : pictures) {
    const std::vector<std::string> files = bands.files_of(picture);
    if (!bands.match(picture)) {
      stray.push_back(picture);
      continue;
    }
    const auto missing = std::find_if(files.begin(), files.end(),
                                      [&](const std::string& file) { return !all.count(file); });
    if (missing == files.end())
      firsts[bands.name_of_sample(picture)] = files[0];
    else
      faults.push_back(picture + ": " + fs::path(*missing).filename().string() +
                       " is not beside it, which goes with it (" + bands.to_string() +
                       "); add it, or remove this one");
  }
  pictures.clear();
  for (const auto& [name, first] : firsts) pictures.push_back(first);
}

Dataset scan_classes(const std::string& folder, SceneRule rule, const BandFiles& bands,
                     std::vector<std::string>& stray, std::vector<std::string>& faults) {
  Dataset dataset;
  dataset.folder = folder;
  dataset.bands = bands;
  std::vector<fs::path> paths;
  keep_fault(faults, [&] { paths = entries(folder); });
  for (const fs::path& path : paths) {
    if (is_hidden(path) || !is_folder(path)) {
      stray.push_back(path.string());
      continue;
    }
    std::vector<std::string> pictures;
    const size_t before = faults.size();
    keep_fault(faults, [&] { collect_files(path, 0, pictures, stray); });
    keep_first_files(pictures, bands, stray, faults);
    if (pictures.empty() && faults.size() == before)
      faults.push_back(path.string() + ": the class folder holds no pictures (" +
                       (bands.empty() ? image_formats() : "such as " + bands.to_string()) +
                       "); add some, or remove the folder");
    if (!is_utf8(path.filename().string()))
      faults.push_back(path.string() +
                       ": the name of the class folder is not UTF-8, as the names of classes in a "
                       "model file are; rename it");
    for (std::string& picture : pictures) {
      Sample sample;
      sample.name =
          fs::path(bands.name_of_sample(picture)).lexically_relative(folder).generic_string();
      sample.path = std::move(picture);
      sample.label = static_cast<int32_t>(dataset.classes.size());
      sample.scene = scene_of(sample.name, rule);
      dataset.samples.push_back(std::move(sample));
    }
    dataset.classes.push_back(path.filename().string());
  }
  if (dataset.classes.empty() && faults.empty())
    faults.push_back(folder + ": the folder holds no class folders; " + layout);
  return dataset;
}

void require_folder(const std::string& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) file_error(folder + ": no such folder; check the path");
  if (!is_folder(folder)) file_error(folder + ": not a folder; " + layout);
}

// Makes `classes` the dataset's, with those of its own that are not among them behind; `whose`
// names them in messages.
void adopt_classes(Dataset& dataset, std::span<const std::string> classes, const std::string& whose,
                   std::vector<std::string>& faults) {
  std::vector<std::string> all(classes.begin(), classes.end());
  std::vector<int32_t> place;
  for (const std::string& name : dataset.classes) {
    auto at = std::find(all.begin(), all.end(), name);
    if (at == all.end()) {
      faults.push_back(dataset.folder + ": the class '" + name + "' is not one of " + whose +
                       "; rename or remove its folder");
      at = all.insert(at, name);
    }
    place.push_back(static_cast<int32_t>(at - all.begin()));
  }
  for (const std::string& name : classes)
    if (std::find(dataset.classes.begin(), dataset.classes.end(), name) == dataset.classes.end())
      faults.push_back(dataset.folder + ": there is no class '" + name + "', which is one of " +
                       whose + "; add its folder with pictures");
  for (Sample& sample : dataset.samples) sample.label = place[static_cast<size_t>(sample.label)];
  std::stable_sort(dataset.samples.begin(), dataset.samples.end(),
                   [](const Sample& a, const Sample& b) { return a.label < b.label; });
  dataset.classes = std::move(all);
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

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t first = byte(at);
    const size_t length = first < 0x80                     ? 1
                          : first >= 0xC2 && first <= 0xDF ? 2
                          : first >= 0xE0 && first <= 0xEF ? 3
                          : first >= 0xF0 && first <= 0xF4 ? 4
                                                           : 0;
    if (length == 0 || length > text.size() - at) return false;
    for (size_t i = 1; i < length; i++)
      if (byte(at + i) >> 6 != 2) return false;
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    const uint8_t second = length > 1 ? byte(at + 1) : 0;
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
        (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F))
      return false;
    at += length;
  }
  return true;
}

namespace {

// FOLDER/train where it is there, else FOLDER.
Folder scan_training_part(const std::string& folder, SceneRule rule, const BandFiles& bands) {
  require_folder(folder);
  Folder found;
  const std::string train = (fs::path(folder) / "train").string();
  found.train =
      scan_classes(is_folder(train) ? train : folder, rule, bands, found.stray, found.faults);
  if (found.train.classes.size() == 1)
    found.faults.push_back(found.train.folder + ": there is only the class '" +
                           found.train.classes[0] + "', and telling apart takes two or more; " +
                           layout);
  return found;
}

}  // namespace

Folder scan_folder(const std::string& folder, SceneRule rule, const BandFiles& bands) {
  Folder found = scan_training_part(folder, rule, bands);
  throw_first(found.faults);
  return found;
}

Folder survey_folder(const std::string& folder, SceneRule rule, const BandFiles& bands) {
  Folder found = scan_training_part(folder, rule, bands);
  const fs::path train = fs::path(folder) / "train", test = fs::path(folder) / "test";
  if (!is_folder(train)) return found;
  if (is_folder(test)) {
    std::vector<std::string> faults;
    Dataset dataset = scan_classes(test.string(), rule, bands, found.stray, faults);
    if (!dataset.classes.empty())
      adopt_classes(dataset, found.train.classes, "the classes of " + train.string(), faults);
    found.test = std::move(dataset);
    found.faults.insert(found.faults.end(), faults.begin(), faults.end());
  }
  keep_fault(found.faults, [&] {
    for (const fs::path& path : entries(folder))
      if (path != train && path != test) found.stray.push_back(path.string());
  });
  return found;
}

Dataset scan_for_classes(const std::string& folder, std::span<const std::string> classes,
                         SceneRule rule, const BandFiles& bands) {
  require_folder(folder);
  const fs::path test = fs::path(folder) / "test";
  const bool parted =
      is_folder(test) && std::find(classes.begin(), classes.end(), "test") == classes.end();
  std::vector<std::string> stray, faults;
  Dataset dataset = scan_classes(parted ? test.string() : folder, rule, bands, stray, faults);
  throw_first(faults);
  adopt_classes(dataset, classes, "the model's classes", faults);
  throw_first(faults);
  return dataset;
}

std::vector<std::string> list_pictures(std::span<const std::string> paths, const BandFiles& bands) {
  std::vector<std::string> all;
  std::set<std::string> samples;
  const auto add = [&](const std::string& path) {
    const std::string first = bands.files_of(path)[0];
    if (bands.empty() || samples.insert(first).second) all.push_back(first);
  };
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::exists(path, error)) file_error(path + ": no such file or folder; check the path");
    if (!is_folder(path)) {
      if (!bands.empty() && !bands.match(path))
        file_error(path + ": its name is none of " + bands.to_string() +
                   ", as the samples' files are called; rename it, or give --bands none");
      add(path);
      continue;
    }
    std::vector<std::string> pictures, stray;
    collect_files(path, 0, pictures, stray);
    if (!bands.empty()) {
      pictures.erase(std::remove_if(pictures.begin(), pictures.end(),
                                    [&](const std::string& file) { return !bands.match(file); }),
                     pictures.end());
      std::sort(pictures.begin(), pictures.end(), [&](const std::string& a, const std::string& b) {
        return bands.name_of_sample(a) < bands.name_of_sample(b);
      });
    }
    if (pictures.empty())
      file_error(path + ": the folder holds no pictures (" +
                 (bands.empty() ? image_formats() : "such as " + bands.to_string()) +
                 "); check the path");
    for (const std::string& picture : pictures) add(picture);
  }
  return all;
}

}  // namespace fulmar::data
