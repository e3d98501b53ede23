#include "data/raster_folder.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "data/dataset_scan.h"
#include "data/folder_layout.h"
#include "data/ice_bands.h"
#include "data/ice_scene.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* only_layer = "labels";
constexpr std::string_view of_reference = "_reference.nc";

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

const char* const layout =
    "expected are pictures and label rasters (--labels \"*_label.tif\"), or FOLDER/images beside "
    "FOLDER/labels with files of the same names, or such in FOLDER/train and FOLDER/val";

// What the * of a pattern stands for in a file's name; "" where it doesn't match.
std::string stem_by(const std::string& pattern, const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  const size_t star = pattern.find('*');
  const std::string before = pattern.substr(0, star), behind = pattern.substr(star + 1);
  if (name.size() <= before.size() + behind.size() || name.rfind(before, 0) != 0 ||
      name.compare(name.size() - behind.size(), behind.size(), behind) != 0)
    return "";
  return name.substr(star, name.size() - before.size() - behind.size());
}

void check_pattern(const std::string& pattern, const char* option) {
  if (std::count(pattern.begin(), pattern.end(), '*') != 1 || pattern.size() < 2 ||
      pattern.find('/') != std::string::npos)
    usage_error(std::string(option) + ": '" + pattern +
                "' must be a file's name with one * for what picture and labels share, as "
                "*_label.tif");
}

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Tasks give tensors, columns and files their names.
std::string fault_of_task(const std::string& name) {
  if (!name.empty() && std::all_of(name.begin(), name.end(), is_word)) return "";
  return "a task is called by letters and digits, not '" + name + "'";
}

// Whether a picture called so goes with labels called so.
bool belongs(const std::string& picture, const std::string& label) {
  return picture == label || (picture.size() > label.size() && picture.rfind(label, 0) == 0 &&
                              !is_word(picture[label.size()]));
}

using Files = std::map<std::string, std::string>;  // by stem

// The files of a folder by their places in it, without extensions.
Files by_place(const fs::path& folder, LeftOut& left, std::vector<std::string>& faults) {
  std::vector<std::string> paths;
  keep_fault(faults, [&] { collect_files(folder, 0, paths, left); });
  Files files;
  for (const std::string& path : paths) {
    const std::string place =
        fs::path(path).lexically_relative(folder).replace_extension().generic_string();
    const auto [at, added] = files.emplace(place, path);
    if (!added)
      faults.push_back(path + ": called as " + at->second + " but for the extension; remove one");
  }
  return files;
}

struct Scan {
  const LabelFiles& labels;
  const std::string& pictures;  // pattern
  SceneRule rule;
  const BandFiles& bands;
};

// What a part's files are: pictures, first files of samples, and the labels of each layer.
struct Found {
  std::vector<std::string> pictures;
  std::vector<std::string> names;  // of the pictures, to be found by labels
  std::vector<std::pair<std::string, Files>> layers;
};

void name_pictures(Found& found, const Scan& scan, std::vector<std::string>& stray,
                   std::vector<std::string>& faults) {
  keep_first_files(found.pictures, scan.bands, stray, faults);
  for (const std::string& path : found.pictures) {
    const fs::path name = fs::path(scan.bands.name_of_sample(path)).filename();
    found.names.push_back(!scan.pictures.empty() ? stem_by(scan.pictures, path)
                          : !scan.bands.empty()  ? name.string()
                                                 : name.stem().string());
  }
}

Found find_by_pattern(const std::string& folder, const Scan& scan, LeftOut& left,
                      std::vector<std::string>& faults) {
  Found found;
  for (const LabelFiles::Layer& layer : scan.labels.layers())
    found.layers.emplace_back(layer.name, Files());
  std::vector<std::string> paths;
  keep_fault(faults, [&] { collect_files(folder, 0, paths, left); });
  for (const std::string& path : paths) {
    bool is_label = false;
    for (size_t i = 0; i < found.layers.size(); i++) {
      const std::string stem = stem_by(scan.labels.layers()[i].pattern, path);
      if (stem.empty()) continue;
      is_label = true;
      const auto [at, added] = found.layers[i].second.emplace(stem, path);
      if (!added) faults.push_back(path + ": called as " + at->second + "; remove one of them");
    }
    if (is_label) continue;
    if (scan.pictures.empty() || !stem_by(scan.pictures, path).empty())
      found.pictures.push_back(path);
    else
      left.stray.push_back(path);
  }
  name_pictures(found, scan, left.stray, faults);
  return found;
}

Found find_in_folders(const std::string& folder, const Scan& scan, LeftOut& left,
                      std::vector<std::string>& faults) {
  Found found;
  const fs::path images = fs::path(folder) / "images", labels = fs::path(folder) / "labels";
  keep_fault(faults, [&] { collect_files(images, 0, found.pictures, left); });
  keep_first_files(found.pictures, scan.bands, left.stray, faults);
  for (const std::string& path : found.pictures) {
    const fs::path place = fs::path(scan.bands.name_of_sample(path)).lexically_relative(images);
    found.names.push_back(scan.bands.empty() ? fs::path(place).replace_extension().generic_string()
                                             : place.generic_string());
  }
  // Folders of labels are tasks, unless the pictures lie in folders of those names too.
  std::vector<fs::path> tasks;
  keep_fault(faults, [&] { tasks = subfolders(labels); });
  const bool alike = std::any_of(tasks.begin(), tasks.end(), [&](const fs::path& path) {
    return is_folder(images / path.filename());
  });
  if (tasks.empty() || alike)
    found.layers.emplace_back(only_layer, by_place(labels, left, faults));
  else
    for (const fs::path& path : tasks) {
      const std::string name = path.filename().string(), fault = fault_of_task(name);
      if (!fault.empty()) faults.push_back(path.string() + ": " + fault + "; rename the folder");
      found.layers.emplace_back(name, by_place(path, left, faults));
    }
  return found;
}

// Charts lie in the scene's own file, or, of scenes to test on, in NAME_reference.nc beside it.
Found find_charts(const std::string& folder, const Scan& scan, std::vector<std::string>& faults) {
  Found found;
  for (const LabelFiles::Layer& layer : scan.labels.layers())
    found.layers.emplace_back(layer.name, Files());
  std::vector<std::string> files;
  keep_fault(faults, [&] { files = scene_files(folder); });
  for (const std::string& path : files) {
    if (!scan.pictures.empty() && stem_by(scan.pictures, path).empty()) continue;
    found.pictures.push_back(path);
    found.names.push_back(path);
    const std::string reference = path.substr(0, path.size() - 3) + std::string(of_reference);
    std::error_code error;
    const std::string& labels = fs::exists(reference, error) ? reference : path;
    keep_fault(faults, [&] {
      for (auto& [chart, of_layer] : found.layers)
        if (has_ice_chart(labels, chart)) of_layer.emplace(path, labels);
    });
  }
  return found;
}

// The labels of a picture in a layer: of all whose name fits, those of the longest.
const std::string* labels_of(const std::string& picture, const Files& files, bool whole_names) {
  const auto exact = files.find(picture);
  if (exact != files.end()) return &exact->second;
  const std::string* best = nullptr;
  size_t longest = 0;
  for (const auto& [stem, path] : files) {
    if (whole_names || !belongs(picture, stem) || stem.size() <= longest) continue;
    best = &path;
    longest = stem.size();
  }
  return best;
}

Dataset pair_up(const std::string& folder, const Found& found, const Scan& scan, LeftOut& left,
                std::vector<std::string>& notes, std::vector<std::string>& faults) {
  Dataset dataset;
  dataset.folder = folder;
  dataset.bands = scan.bands;
  dataset.classes = {"labelled"};
  for (const auto& layer : found.layers) dataset.layers.push_back(layer.first);
  std::map<std::string, std::string> used;  // label file -> picture
  std::vector<std::string> without;
  for (size_t i = 0; i < found.pictures.size(); i++) {
    Sample sample;
    sample.path = found.pictures[i];
    sample.name = fs::path(scan.bands.name_of_sample(sample.path))
                      .lexically_relative(folder)
                      .generic_string();
    for (const auto& layer : found.layers) {
      const std::string* file = labels_of(found.names[i], layer.second,
                                          scan.labels.in_folders() || scan.labels.charts() ||
                                              !scan.pictures.empty() || !scan.bands.empty());
      if (file) sample.label_files.push_back(*file);
    }
    if (sample.label_files.empty()) {
      without.push_back(sample.path);
      continue;
    }
    if (sample.label_files.size() < found.layers.size()) {
      faults.push_back(sample.path + ": it has labels of " +
                       std::to_string(sample.label_files.size()) + " of " +
                       std::to_string(found.layers.size()) +
                       " tasks; add the others, of 255 where nothing is known");
      continue;
    }
    for (const std::string& file : sample.label_files) {
      const auto [at, added] = used.emplace(file, sample.path);
      if (!added && at->second != sample.path)
        faults.push_back(file + ": it goes with two pictures, " + at->second + " and " +
                         sample.path + "; say with --pictures which are meant, as *_VV.tif");
    }
    dataset.samples.push_back(std::move(sample));
  }
  for (const auto& layer : found.layers)
    for (const auto& [stem, file] : layer.second)
      if (!used.count(file)) left.stray.push_back(file);
  if (!without.empty())
    notes.push_back(std::to_string(without.size()) +
                    (without.size() == 1 ? " picture has" : " pictures have") +
                    " no labels and are left out, such as " + without.front());
  if (dataset.samples.empty() && faults.empty())
    faults.push_back(folder + ": there is no picture with labels beside it; " + layout);
  name_scenes(dataset, scan.rule);
  return dataset;
}

Dataset scan_part(const std::string& folder, const Scan& scan, Folder& found) {
  const Found files = scan.labels.charts() ? find_charts(folder, scan, found.faults)
                      : scan.labels.in_folders()
                          ? find_in_folders(folder, scan, found, found.faults)
                          : find_by_pattern(folder, scan, found, found.faults);
  return pair_up(folder, files, scan, found, found.notes, found.faults);
}

void require_layers(const Dataset& part, const Dataset& train, std::vector<std::string>& faults) {
  if (part.layers != train.layers)
    faults.push_back(part.folder + ": its labels are of other tasks than those of " + train.folder);
}

}  // namespace

std::vector<std::string> scene_files(const fs::path& folder) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator at(folder, error), end;
  for (; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.rfind('.', 0) == 0) {
      if (at->is_directory(error)) at.disable_recursion_pending();
      continue;
    }
    if (is_netcdf(name) && !ends_with(name, of_reference) && at->is_regular_file(error))
      files.push_back(at->path().string());
  }
  if (error) file_error(folder.string() + ": can't be read: " + error.message());
  std::sort(files.begin(), files.end());
  return files;
}

LabelFiles LabelFiles::parse(const std::string& text) {
  LabelFiles files;
  if (text == "folders") {
    files.folders_ = true;
    return files;
  }
  std::set<std::string> names;
  for (size_t from = 0; from < text.size();) {
    const size_t comma = std::min(text.find(',', from), text.size());
    const std::string entry = text.substr(from, comma - from);
    from = comma + 1;
    const size_t equals = entry.find('=');
    Layer layer{only_layer, entry};
    if (equals != std::string::npos) layer = {entry.substr(0, equals), entry.substr(equals + 1)};
    if (is_ice_chart(entry)) {
      if (!names.insert(entry).second) usage_error("--labels: " + entry + " stands there twice");
      files.charts_ = true;
      files.layers_.push_back({entry, entry});
      continue;
    }
    check_pattern(layer.pattern, "--labels");
    if (const std::string fault = fault_of_task(layer.name); !fault.empty())
      usage_error("--labels: " + fault);
    if (!names.insert(layer.name).second)
      usage_error("--labels: two tasks are called '" + layer.name +
                  "'; give each a name, as SIC=*_SIC.tif,SOD=*_SOD.tif");
    files.layers_.push_back(layer);
  }
  for (const Layer& layer : files.layers_)
    if (files.charts_ && !is_ice_chart(layer.pattern))
      usage_error("--labels: " + layer.pattern +
                  " doesn't go with charts of scenes, which are SIC, SOD and FLOE");
  return files;
}

bool has_label_folders(const std::string& folder) {
  const auto has = [](const fs::path& path) {
    return is_folder(path / "images") && is_folder(path / "labels");
  };
  return has(folder) || has(fs::path(folder) / "train");
}

std::string usual_label_files(const std::string& folder) {
  if (has_label_folders(folder)) return "folders";
  for (const fs::path& place : {fs::path(folder), fs::path(folder) / "train"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(place, error))
      if (ends_with(entry.path().string(), "_prep.nc")) return "SIC,SOD,FLOE";
  }
  return "";
}

Folder survey_rasters(const std::string& folder, const LabelFiles& labels,
                      const std::string& pictures, SceneRule rule, const BandFiles& bands,
                      bool test) {
  require_folder(folder, layout);
  if (!pictures.empty()) check_pattern(pictures, "--pictures");
  const Scan scan{labels, pictures, rule, bands};
  Folder found;
  Parts parts;
  keep_fault(found.faults, [&] { parts = find_parts(folder); });
  if (!parts.train) parts = {};
  found.train = scan_part(parts.train ? parts.train->string() : folder, scan, found);
  if (parts.validation) {
    found.validation = scan_part(parts.validation->string(), scan, found);
    require_layers(*found.validation, found.train, found.faults);
  }
  if (parts.test) found.test_folder = parts.test->string();
  if (test && parts.test) {
    found.test = scan_part(parts.test->string(), scan, found);
    require_layers(*found.test, found.train, found.faults);
  }
  return found;
}

Folder scan_rasters(const std::string& folder, const LabelFiles& labels,
                    const std::string& pictures, SceneRule rule, const BandFiles& bands) {
  Folder found = survey_rasters(folder, labels, pictures, rule, bands, false);
  throw_first_fault(found.faults);
  return found;
}

Dataset scan_labelled(const std::string& folder, const LabelFiles& labels,
                      const std::string& pictures, SceneRule rule, const BandFiles& bands) {
  require_folder(folder, layout);
  if (!pictures.empty()) check_pattern(pictures, "--pictures");
  const Parts parts = find_parts(folder);
  if (parts.train && !parts.test)
    file_error(folder + ": there is no test part; give the folder of one of its parts, such as " +
               parts.validation.value_or(*parts.train).string());
  Folder found;
  Dataset dataset =
      scan_part(parts.test ? parts.test->string() : folder, {labels, pictures, rule, bands}, found);
  throw_first_fault(found.faults);
  return dataset;
}

}  // namespace fulmar::data
