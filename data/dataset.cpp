#include "data/dataset.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "data/dataset_scan.h"
#include "data/folder_layout.h"
#include "data/image.h"
#include "kernels/error.h"
#include "kernels/fnv1a.h"

namespace fulmar::data {

namespace fs = std::filesystem;

namespace {

// Keeps a path that is left out whatever it holds.
bool leave_out(const fs::path& path, LeftOut& left) {
  if (is_leaving(path.filename().string()))
    left.copies.push_back(path.string());
  else if (!is_hidden(path) && is_folder(path) && is_made_by_training(path))
    left.made.push_back(path.string());
  else
    return false;
  return true;
}

}  // namespace

void collect_files(const fs::path& folder, int depth, std::vector<std::string>& pictures,
                   LeftOut& left) {
  constexpr int max_depth = 16;
  if (depth > max_depth)
    file_error(folder.string() + ": folders are nested more than " + std::to_string(max_depth) +
               " deep; is there a link to a folder above?");
  for (const fs::path& path : entries(folder)) {
    if (leave_out(path, left)) continue;
    if (!is_hidden(path) && is_folder(path))
      collect_files(path, depth + 1, pictures, left);
    else if (!is_hidden(path) && looks_like_image(path.string()))
      pictures.push_back(path.string());
    else
      left.stray.push_back(path.string());
  }
}

void throw_first_fault(const std::vector<std::string>& faults) {
  if (faults.empty()) return;
  std::string more;
  if (faults.size() > 1)
    more = " (and " + std::to_string(faults.size() - 1) +
           " more; 'fulmar check' tells all that is wrong with a dataset)";
  file_error(faults.front() + more);
}

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

void require_folder(const std::string& folder, const std::string& layout) {
  std::error_code error;
  if (!fs::exists(folder, error)) file_error(folder + ": no such folder; check the path");
  if (!is_folder(folder)) file_error(folder + ": not a folder; " + layout);
}

namespace {

const char* const layout =
    "expected are pictures in a folder for each class (FOLDER/neg/*.png, FOLDER/pos/*.png), or "
    "such folders in FOLDER/train, FOLDER/val and FOLDER/test";

// How class folders are scanned.
struct Scan {
  SceneRule rule;
  const BandFiles& bands;
  bool may_lack = false;  // a class folder may hold no pictures
};

void add_class(Dataset& dataset, const fs::path& path, const Scan& scan, LeftOut& left,
               std::vector<std::string>& faults) {
  std::vector<std::string> pictures;
  const size_t before = faults.size();
  keep_fault(faults, [&] { collect_files(path, 0, pictures, left); });
  keep_first_files(pictures, scan.bands, left.stray, faults);
  if (pictures.empty() && faults.size() == before && !scan.may_lack)
    faults.push_back(path.string() + ": the class folder holds no pictures (" +
                     (scan.bands.empty() ? image_formats() : "such as " + scan.bands.to_string()) +
                     "); add some, or remove the folder");
  if (!is_utf8(path.filename().string()))
    faults.push_back(path.string() +
                     ": the name of the class folder is not UTF-8, as the names of classes in a "
                     "model file are; rename it");
  for (std::string& picture : pictures) {
    Sample sample;
    sample.name = fs::path(scan.bands.name_of_sample(picture))
                      .lexically_relative(dataset.folder)
                      .generic_string();
    sample.path = std::move(picture);
    sample.label = static_cast<int32_t>(dataset.classes.size());
    dataset.samples.push_back(std::move(sample));
  }
  dataset.classes.push_back(path.filename().string());
}

// The folders right in a class's that its pictures lie in, by names as classes have them: without a
// run of four digits, as years, dates and numbers of scenes have.
std::set<std::string> inner_folders(const Dataset& dataset, size_t label) {
  std::set<std::string> names;
  for (const Sample& sample : dataset.samples) {
    if (sample.label != static_cast<int32_t>(label)) continue;
    const size_t begin = sample.name.find('/') + 1, end = sample.name.find('/', begin);
    if (end == std::string::npos) continue;
    const std::string name = sample.name.substr(begin, end - begin);
    int run = 0, longest = 0;
    for (const char c : name) {
      run = c >= '0' && c <= '9' ? run + 1 : 0;
      longest = std::max(longest, run);
    }
    if (longest < 4) names.insert(name);
  }
  return names;
}

// Folders that hold the same folders are parts of a dataset rather than classes.
void refuse_parts(const Dataset& dataset, std::vector<std::string>& faults) {
  std::vector<std::set<std::string>> inner;
  for (size_t label = 0; label < dataset.classes.size(); label++)
    inner.push_back(inner_folders(dataset, label));
  for (size_t a = 0; a < inner.size(); a++)
    for (size_t b = a + 1; b < inner.size(); b++) {
      const std::set<std::string>&few = inner[a].size() < inner[b].size() ? inner[a] : inner[b],
            &many = &few == &inner[a] ? inner[b] : inner[a];
      if (few.size() < 2 || !std::includes(many.begin(), many.end(), few.begin(), few.end()))
        continue;
      const std::string &one = dataset.classes[a], &other = dataset.classes[b];
      faults.push_back(dataset.folder + ": " + one + " and " + other +
                       " hold the same folders, such as " + *few.begin() + " and " +
                       *std::next(few.begin()) + ", so they look like parts of a dataset, not " +
                       "classes: call them train, val and test, or give the folder of one of "
                       "them; where they are the classes, put their pictures right into them");
      return;
    }
}

Dataset scan_classes(const std::string& folder, const Scan& scan, LeftOut& left,
                     std::vector<std::string>& faults) {
  Dataset dataset;
  dataset.folder = folder;
  dataset.bands = scan.bands;
  std::vector<fs::path> paths;
  keep_fault(faults, [&] { paths = entries(folder); });
  for (const fs::path& path : paths) {
    if (leave_out(path, left)) continue;
    if (is_hidden(path) || !is_folder(path))
      left.stray.push_back(path.string());
    else
      add_class(dataset, path, scan, left, faults);
  }
  if (dataset.classes.empty() && faults.empty())
    faults.push_back(folder + ": the folder holds no class folders; " + layout);
  refuse_parts(dataset, faults);
  name_scenes(dataset, scan.rule);
  return dataset;
}

// What a name of a class has to do with another of almost the same name; "" where there is none.
std::string alike(const std::string& name, std::span<const std::string> others) {
  for (const std::string& other : others)
    if (other != name && folded_name(other) == folded_name(name))
      return "'" + other + "' is, which is the same but for case or the form of its accents";
  return "";
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
      const std::string other = alike(name, classes);
      faults.push_back(
          dataset.folder + ": the class '" + name + "' is not one of " + whose +
          (other.empty() ? "; rename or remove its folder" : "; " + other + ": rename its folder"));
      at = all.insert(at, name);
    }
    place.push_back(static_cast<int32_t>(at - all.begin()));
  }
  for (Sample& sample : dataset.samples) sample.label = place[static_cast<size_t>(sample.label)];
  std::stable_sort(dataset.samples.begin(), dataset.samples.end(),
                   [](const Sample& a, const Sample& b) { return a.label < b.label; });
  dataset.classes = std::move(all);
}

// Notes names of classes that people may take for one.
void note_alike(const Dataset& dataset, std::vector<std::string>& notes) {
  const std::span<const std::string> classes = dataset.classes;
  for (size_t i = 0; i < classes.size(); i++)
    if (!alike(classes[i], classes.first(i)).empty())
      notes.push_back(dataset.folder + ": the class '" + classes[i] + "' is one by itself, and " +
                      alike(classes[i], classes.first(i)));
}

}  // namespace

std::vector<std::string> absent_classes(const Dataset& dataset) {
  std::vector<std::string> absent;
  const std::vector<int64_t> counts = dataset.class_counts();
  for (size_t i = 0; i < counts.size(); i++)
    if (counts[i] == 0) absent.push_back(dataset.classes[i]);
  return absent;
}

std::vector<const Dataset*> Folder::parts() const {
  std::vector<const Dataset*> all{&train};
  if (validation) all.push_back(&*validation);
  if (test) all.push_back(&*test);
  return all;
}

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
  for (const Sample& sample : samples) {
    add(sample.name + ":" + std::to_string(sample.label));
    for (const std::string& file : sample.label_files)
      add(fs::path(file).lexically_relative(folder).generic_string());
  }
  for (const std::string& layer : layers) add(layer);
  return hash;
}

namespace {

// Without a training part: folders that are parts all the same, by what they hold.
void refuse_lone_parts(const std::string& folder, const Parts& parts,
                       std::vector<std::string>& faults) {
  const std::vector<fs::path> all = subfolders(folder);
  for (const auto& part : {parts.validation, parts.test}) {
    if (!part) continue;
    const std::vector<fs::path> inner = subfolders(*part);
    const bool beside = std::any_of(inner.begin(), inner.end(), [&](const fs::path& path) {
      return is_folder(fs::path(folder) / path.filename());
    });
    if (inner.empty() || (!beside && all.size() > 1 && !(parts.validation && parts.test))) continue;
    faults.push_back(folder + ": " + part->filename().string() +
                     " is a part of a dataset by its name and its folders, and there is no " +
                     "training part: put the class folders for training into " +
                     (fs::path(folder) / "train").string());
    return;
  }
}

// A part with the classes of the training part; what is wrong with it goes into the folder's
// faults.
Dataset scan_part(const fs::path& path, const Scan& scan, Folder& found) {
  std::vector<std::string> faults;
  Dataset dataset = scan_classes(path.string(), scan, found, faults);
  if (!dataset.classes.empty()) {
    adopt_classes(dataset, found.train.classes, "the classes of " + found.train.folder, faults);
    for (const std::string& name : absent_classes(dataset))
      found.notes.push_back(dataset.folder + ": there is no picture of the class '" + name + "'");
  }
  found.faults.insert(found.faults.end(), faults.begin(), faults.end());
  return dataset;
}

Folder scan_parts(const std::string& folder, SceneRule rule, const BandFiles& bands, bool test) {
  require_folder(folder, layout);
  Folder found;
  Parts parts;
  keep_fault(found.faults, [&] {
    parts = find_parts(folder);
    if (!parts.train) refuse_lone_parts(folder, parts, parts.faults);
  });
  found.faults.insert(found.faults.end(), parts.faults.begin(), parts.faults.end());
  if (!parts.train) parts = {};
  const Scan scan{rule, bands}, scan_lacking{rule, bands, true};
  found.train =
      scan_classes(parts.train ? parts.train->string() : folder, scan, found, found.faults);
  if (found.train.classes.size() == 1)
    found.faults.push_back(found.train.folder + ": there is only the class '" +
                           found.train.classes[0] + "', and telling apart takes two or more; " +
                           layout);
  note_alike(found.train, found.notes);
  if (parts.validation) found.validation = scan_part(*parts.validation, scan_lacking, found);
  if (parts.test) found.test_folder = parts.test->string();
  if (!test || !parts.train) return found;
  if (parts.test) found.test = scan_part(*parts.test, scan_lacking, found);
  keep_fault(found.faults, [&] {
    for (const fs::path& path : entries(folder))
      if (path != parts.train && path != parts.validation && path != parts.test &&
          !leave_out(path, found))
        found.stray.push_back(path.string());
  });
  return found;
}

}  // namespace

Folder scan_folder(const std::string& folder, SceneRule rule, const BandFiles& bands) {
  Folder found = scan_parts(folder, rule, bands, false);
  throw_first_fault(found.faults);
  return found;
}

Folder survey_folder(const std::string& folder, SceneRule rule, const BandFiles& bands) {
  return scan_parts(folder, rule, bands, true);
}

Dataset scan_for_classes(const std::string& folder, std::span<const std::string> classes,
                         SceneRule rule, const BandFiles& bands, LeftOut* left_out) {
  require_folder(folder, layout);
  const Parts parts = find_parts(folder);
  const auto is_part = [&](const std::optional<fs::path>& part) {
    return part &&
           std::find(classes.begin(), classes.end(), part->filename().string()) == classes.end();
  };
  if (!is_part(parts.test) && is_part(parts.train) && !subfolders(*parts.train).empty())
    file_error(folder + ": there is no test part; give the folder of one of its parts, such as " +
               parts.validation.value_or(*parts.train).string());
  LeftOut left;
  std::vector<std::string> faults;
  Dataset dataset = scan_classes(is_part(parts.test) ? parts.test->string() : folder,
                                 {rule, bands, true}, left, faults);
  throw_first_fault(faults);
  adopt_classes(dataset, classes, "the model's classes", faults);
  if (dataset.samples.empty())
    faults.push_back(dataset.folder + ": none of its class folders holds pictures (" +
                     (bands.empty() ? image_formats() : "such as " + bands.to_string()) + "); " +
                     layout);
  throw_first_fault(faults);
  if (left_out) *left_out = std::move(left);
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
    std::vector<std::string> pictures;
    LeftOut left;
    if (bands.of_scenes().empty())
      collect_files(path, 0, pictures, left);
    else
      pictures = scene_files(path);
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
                 (!bands.of_scenes().empty() ? ".nc"
                  : bands.empty()            ? image_formats()
                                             : "such as " + bands.to_string()) +
                 "); check the path");
    for (const std::string& picture : pictures) add(picture);
  }
  return all;
}

}  // namespace fulmar::data
